"""Connections that break, freeze, lose answers or are slow, pools without a free one, and a pooler
that dies.
"""

from __future__ import annotations

from fuzz.parts.crew import Worker
from fuzz.parts.stage import POOL_TIMEOUT
from fuzz.rounds.round import Publishing, Round


async def _through_the_proxy(round: Round) -> Publishing:
    """Publish through the proxy; read through it and past it."""
    (direct,) = await round.stage.workers("postgres", 1)
    through = await round.crew("proxied", 2)
    publishing = round.publish(through[0], round.stream(0))
    round.publish(direct, round.stream(1))
    round.readers([*through, direct], round.stream(0))
    round.readers(through, round.stream(1), most=2)
    await round.instant(publishing)
    return publishing


async def cut_connections(round: Round) -> None:
    """Connections are cut in the middle of anything, with a FIN or a reset."""
    publishing = await _through_the_proxy(round)
    for _ in range(round.number("times", 1, 5)):
        round.stage.proxy.cut(reset=round.draws.chance("reset", 50))
        await round.instant(publishing)
    await round.conclude()


async def frozen_connections(round: Round) -> None:
    """Connections go silent, sometimes for longer than a statement may take."""
    await _through_the_proxy(round)
    round.stage.proxy.freeze()
    try:
        await round.pause("pause", round.draws.choice("length", (0.2, 0.2, 1.5)))
        if round.draws.chance("cut", 30):
            round.stage.proxy.cut(reset=True)
    finally:
        round.stage.proxy.heal()
    await round.conclude()


async def lost_answers(round: Round) -> None:
    """The server obeys and its answers never arrive: nothing is lost or stored twice."""
    publishing = await _through_the_proxy(round)
    for _ in range(round.number("times", 1, 2)):
        round.stage.proxy.swallow_answers()
        await round.instant(publishing)
    await round.conclude()


async def slow_connections(round: Round) -> None:
    """All traffic to the server and back is late."""
    (direct,) = await round.stage.workers("postgres", 1)
    through = await round.crew("proxied", 2)
    round.stage.proxy.delay = round.number("delay", 1, 10) / 1000
    try:
        round.publish(round.draws.choice("writer", [*through, direct]), round.stream(), most=12)
        round.readers([*through, direct], round.stream())
        await round.conclude()
    finally:
        round.stage.proxy.heal()


async def exhausted_pool(round: Round) -> None:
    """A pool of one connection serves many publishers while the application that shares it takes it
    away: all are served in the end.
    """
    workers = await round.crew("narrow", 2)
    publishings = [
        round.publish(workers[n % 2], round.stream(n), most=15)
        for n in range(round.number("publishers", 2, 8))
    ]
    for number in range(len(publishings)):
        round.readers(workers, round.stream(number))
    await round.instant(publishings[0])
    for _ in range(round.number("times", 1, 2)):
        held = round.draws.choice("who", workers).tell(
            "hold", POOL_TIMEOUT * 1.2 * round.number("share", 0, 100) / 100
        )
        await held.until("let go", within=20.0)
    await round.conclude()


async def killed_pooler(round: Round) -> None:
    """The pooler is killed and started again: its clients come back."""
    workers: list[Worker] = await round.crew("pooled", 2)
    publishing = round.publish(workers[0], round.stream())
    round.readers(workers, round.stream())
    await round.instant(publishing)
    await round.stage.pooler.kill()
    try:
        await round.pause("away", 0.3)
    finally:
        await round.stage.pooler.start()
    await round.conclude()
