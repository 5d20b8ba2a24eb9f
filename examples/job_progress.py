"""Use your own protocol for something other than a chat: a long job reports its progress.

Each watcher draws a bar, one from the start of the job and one later.

    python examples/job_progress.py
"""

import asyncio
from typing import TypedDict

from rich.progress import Progress

from monostream_ai import JSONProtocol, create_service


class Step(TypedDict):
    done: int
    total: int
    doing: str
    outcome: str | None


protocol = JSONProtocol[Step](
    is_terminal=lambda step: step["outcome"] is not None,
    # Makes the last step of a job that did not write one: `why` is finish, error, abort or lost.
    ending=lambda why: [{"done": 0, "total": 0, "doing": "ended", "outcome": why}],
)
service = create_service("memory://", protocol)
FILES = [f"report-{number:02}.pdf" for number in range(1, 41)]


async def job() -> None:
    count = len(FILES)
    async with service.publisher("job:7") as pub:
        for done, file in enumerate(FILES):
            await pub.write({"done": done, "total": count, "doing": file, "outcome": None})
            await asyncio.sleep(0.02)  # stands for the work
        await pub.write({"done": count, "total": count, "doing": "all files", "outcome": "finish"})


async def watch(name: str) -> None:
    with Progress() as progress:
        bar = progress.add_task(name)
        async for step in service.subscribe("job:7"):
            if step["total"]:
                description = f"{name}: {step['doing']}"
                progress.update(
                    bar, completed=step["done"], total=step["total"], description=description
                )
    print(f"{name} saw it end: {step['outcome']}")


async def main() -> None:
    async with service:
        await asyncio.gather(job(), watch("from the start"))
        await watch("later")


if __name__ == "__main__":
    asyncio.run(main())
