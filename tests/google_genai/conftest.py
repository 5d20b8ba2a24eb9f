from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ui_messages import Chunk, UIMessageProtocol


@pytest.fixture
async def service(no_task_is_left: None) -> AsyncIterator[DurableStreamService[Chunk]]:
    async with create_service("memory://", protocol=UIMessageProtocol()) as service:
        yield service
