"""A publisher that is to be killed: `python designs/dying.py '{"url": …, "lease": …}'`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.pacing import chunk_now
from monostream_ai import create_service


async def main(url: str, lease: float) -> None:
    async with create_service(url, lease=lease) as service, service.publisher("s") as pub:
        await pub.write(chunk_now())
        print("ready", flush=True)
        while True:
            await asyncio.sleep(0.02)
            await pub.write(chunk_now())


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
