"""How long a message takes while nothing is at its limit: a process of its own, paced.

Reads `{"port", "rooms"}`, then a line for each measurement: for how many seconds. Answers each
with `{"p50", "p99"}`, in milliseconds from sending to the acknowledgement.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from bench.client import Client, connect
from bench.report import percentile

EVERY_SECONDS = 0.02


class Pace:
    """Says something in one room after the other."""

    def __init__(self, clients: list[tuple[str, Client]]) -> None:
        self._clients = clients
        self._number = 0

    async def measure(self, seconds: float) -> dict[str, float]:
        taken: list[float] = []
        for _ in range(int(seconds / EVERY_SECONDS)):
            self._say(taken)
            await asyncio.sleep(EVERY_SECONDS)
        return {f"p{n}": percentile(taken, n / 100) * 1000 for n in (50, 99)}

    def _say(self, taken: list[float]) -> None:
        self._number += 1
        room, client = self._clients[self._number % len(self._clients)]
        sent = time.perf_counter()
        body = {"text": f"第{self._number}句"}
        message = {"room": room, "client_id": f"{self._number}", "kind": "text", "body": body}
        client.emit("message:send", message, lambda _: taken.append(time.perf_counter() - sent))


async def main() -> None:
    loop = asyncio.get_running_loop()

    async def told() -> Any:
        return json.loads(await loop.run_in_executor(None, sys.stdin.readline) or "null")

    asked = await told()
    clients = [(row["room"], await connect(asked["port"], row["token"])) for row in asked["rooms"]]
    pace = Pace(clients)
    while seconds := await told():
        print(json.dumps(await pace.measure(seconds)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
