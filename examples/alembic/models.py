"""Your own tables, and those of the streams, in one database with one history."""

from sqlalchemy import Column, Integer, MetaData, Table, Text

from monostream_ai.stores.sql import metadata as stream_metadata

metadata = MetaData()

chat = Table(
    "chat", metadata, Column("id", Integer, primary_key=True), Column("title", Text, nullable=False)
)

target_metadata = [metadata, stream_metadata]
