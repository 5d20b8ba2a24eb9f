from __future__ import annotations

import os
from collections.abc import AsyncIterator
from importlib.util import find_spec

import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ui_messages import Chunk, UIMessageProtocol

# Otherwise it asks the internet for the prices of models when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

# It is larger than all other packages of the tests together, so only scripts/test-oldest has it.
collect_ignore_glob = [] if find_spec("litellm") else ["test_*.py"]


@pytest.fixture
async def service() -> AsyncIterator[DurableStreamService[Chunk]]:
    async with create_service("memory://", protocol=UIMessageProtocol()) as service:
        yield service
