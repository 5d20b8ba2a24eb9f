from monostream_ai._extras import needs

with needs("aiosqlite and sqlalchemy", "sqlite", by=__name__):
    import aiosqlite as aiosqlite
    import sqlalchemy as sqlalchemy
