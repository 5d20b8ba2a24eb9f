from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec

import pytest
import respx

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ui_messages import Chunk, UIMessageProtocol
from tests.openai.vendor import USING, Vendor

# The mocker of httpx2 is tested where the SDK speaks through httpx2.
collect_ignore = ["test_httpx2_mocker.py"] if USING == "httpx" else []
# The events of other SDKs, some of which do not work with the oldest release of this one.
collect_ignore += [] if find_spec("agents") else ["test_wrong_door.py"]


@pytest.fixture
async def service(no_task_is_left: None) -> AsyncIterator[DurableStreamService[Chunk]]:
    async with create_service("memory://", protocol=UIMessageProtocol()) as service:
        yield service


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with respx.mock(using=USING, assert_all_called=False) as router:
        yield Vendor(router)
