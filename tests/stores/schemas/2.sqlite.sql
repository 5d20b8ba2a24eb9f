-- Version 2, as its first release made it.
CREATE TABLE monostream_schema (
	version INTEGER NOT NULL, 
	CONSTRAINT monostream_schema_pkey PRIMARY KEY (version)
);
CREATE TABLE stream_chunk (
	stream_id TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	id BIGINT NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	chunk TEXT NOT NULL, 
	CONSTRAINT stream_chunk_pkey PRIMARY KEY (stream_id, version, id)
) WITHOUT ROWID;
CREATE TABLE stream_version (
	stream_id TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	writer TEXT, 
	opener TEXT NOT NULL, 
	state TEXT NOT NULL, 
	next_id BIGINT NOT NULL, 
	lease_seconds DOUBLE NOT NULL, 
	lease_until DOUBLE NOT NULL, 
	stop_requested_at DOUBLE, 
	message_id TEXT, 
	owner TEXT, 
	attempt INTEGER NOT NULL, 
	request TEXT, 
	metadata TEXT, 
	created_at DOUBLE NOT NULL, 
	closed_at DOUBLE, 
	settler TEXT, 
	CONSTRAINT stream_version_pkey PRIMARY KEY (stream_id, version)
) WITHOUT ROWID;
CREATE INDEX stream_version_unsettled ON stream_version (stream_id, version) WHERE settler IS NOT NULL;
CREATE INDEX stream_version_closed ON stream_version (closed_at) WHERE state = 'closed';
CREATE INDEX stream_version_open ON stream_version (created_at) WHERE state = 'open';
INSERT INTO monostream_schema (version) VALUES (1), (2);
INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds, lease_until, attempt, created_at,
  closed_at, message_id, settler, request)
VALUES ('done', 0, 'w0', 'w0', 'closed', 2, 0, 1700000000, 1, 1700000000, 1700000010, 'm0', 'w0', '{"n":1}'),
       ('running', 0, 'w1', 'w1', 'open', 1, 600, (julianday('now') - 2440587.5) * 86400.0 + 600, 1, 1700000000, NULL, NULL, 'w1', '{"n":2}');
INSERT INTO stream_chunk (stream_id, version, id, chunk)
VALUES ('done', 0, 0, '{"type":"text","n":0}'), ('done', 0, 1, '{"type":"finish"}'),
       ('running', 0, 0, '{"type":"text","n":0}');
