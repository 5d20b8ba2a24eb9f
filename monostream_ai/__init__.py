"""Durable, resumable streams for LLM answers: every chunk is stored before it is delivered.

    service = create_service("sqlite+aiosqlite:///chat.db")
    async with service.publisher("chat:123") as pub:
        await pub.write({"type": "text-start", "id": "t"})
        await pub.write({"type": "text-delta", "id": "t", "delta": "Hello"})
    async for chunk in service.subscribe("chat:123"):
        ...

`monostream_ai.langchain`, `monostream_ai.openai` and `monostream_ai.fastapi` connect it to the
libraries of that name.
"""

from monostream_ai._reading.subscription import Subscription
from monostream_ai._writing.publisher import Publisher
from monostream_ai.connect import create_service
from monostream_ai.errors import (
    ChunkRefused,
    ChunksMissing,
    ChunkTooLarge,
    CursorNotFound,
    Fenced,
    FileMoved,
    InvalidArgument,
    InvalidChunk,
    InvalidCursor,
    InvalidEngine,
    InvalidNumber,
    InvalidSchema,
    InvalidStreamId,
    InvalidText,
    InvalidURL,
    InvalidVersion,
    InvalidWord,
    LogHeld,
    MissingExtra,
    MissingPrivilege,
    MonostreamError,
    NotLost,
    Overflow,
    PublisherClosed,
    PublisherError,
    PublisherLost,
    ReadOnlyDatabase,
    SchemaMismatch,
    SchemaMissing,
    SchemaOutdated,
    SchemaTooNew,
    ServiceClosed,
    StoreError,
    StoreUnavailable,
    StreamClosed,
    StreamDeleted,
    StreamStopped,
    SubscriptionClosed,
    SubscriptionError,
    SubscriptionTimeout,
    Superseded,
    UnknownStream,
    VersionConflict,
    WriteTooLarge,
    WrongEventLoop,
)
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.protocol import ChunkProtocol, JSONProtocol
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Batch, Chunk, Cursor, VersionInfo

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Chunk",
    "ChunkProtocol",
    "ChunkRefused",
    "ChunkTooLarge",
    "ChunksMissing",
    "Cursor",
    "CursorNotFound",
    "DurableStreamService",
    "Fenced",
    "FileMoved",
    "InvalidArgument",
    "InvalidChunk",
    "InvalidCursor",
    "InvalidEngine",
    "InvalidNumber",
    "InvalidSchema",
    "InvalidStreamId",
    "InvalidText",
    "InvalidURL",
    "InvalidVersion",
    "InvalidWord",
    "JSONProtocol",
    "LogHeld",
    "MissingExtra",
    "MissingPrivilege",
    "MonostreamError",
    "NotLost",
    "Notifier",
    "Overflow",
    "Publisher",
    "PublisherClosed",
    "PublisherError",
    "PublisherLost",
    "ReadOnlyDatabase",
    "SchemaMismatch",
    "SchemaMissing",
    "SchemaOutdated",
    "SchemaTooNew",
    "ServiceClosed",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "StreamClosed",
    "StreamDeleted",
    "StreamStopped",
    "Subscription",
    "SubscriptionClosed",
    "SubscriptionError",
    "SubscriptionTimeout",
    "Superseded",
    "UnknownStream",
    "VersionConflict",
    "VersionInfo",
    "WriteTooLarge",
    "WrongEventLoop",
    "__version__",
    "create_service",
]
