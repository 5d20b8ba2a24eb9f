from monostream_ai._extras import needs

with needs("asyncpg and sqlalchemy", "postgres", by=__name__):
    import asyncpg as asyncpg
    import sqlalchemy as sqlalchemy
