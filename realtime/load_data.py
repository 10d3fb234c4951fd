"""`wenzhen dev load-data`: fill a demo server with consultations in progress."""

import json
from pathlib import Path

import aiohttp

PART = 50


class LoadError(Exception):
    """Says in one sentence why the rooms could not be made."""


async def load_data(url: str, rooms: int, out: Path) -> None:
    """Have the server make the rooms, and write one JSON line each. Raises LoadError."""
    with out.open("w", encoding="utf-8") as lines:
        async with aiohttp.ClientSession(url) as http:
            made = 0
            while made < rooms:
                part = await _ask(http, url, min(PART, rooms - made))
                made += len(part)
                lines.writelines(json.dumps(row) + "\n" for row in part)


async def _ask(http: aiohttp.ClientSession, url: str, rooms: int) -> list[dict[str, str]]:
    try:
        async with http.post("/test/load-data", json={"rooms": rooms}) as answer:
            if answer.status in {404, 405}:
                raise LoadError(f"{url} makes no test data; start the server with --demo.")
            if answer.status != 200:
                raise LoadError(f"{url} refused ({answer.status}): {await answer.text()}")
            items: list[dict[str, str]] = (await answer.json())["items"]
            return items
    except aiohttp.ClientConnectionError:
        raise LoadError(f"No server answers at {url}; start one with `make run`.") from None
