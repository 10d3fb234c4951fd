"""A killed recorder leaves what it heard until then."""

import asyncio
import os
import random
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from signalling.media.recording import journal
from signalling.media.recording.film import EVERYBODY
from signalling.media.recording.finish import finish

KILLS = 50
SECONDS = 14.0
MAY_LOSE_SECONDS = 5.0


async def kill_at_random(folder: Path) -> dict[str, datetime]:
    """Let so many recordings run at once; kill each at a moment of its own, and tell when."""
    victims = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.signalling.media.recording.victim",
        str(folder), str(KILLS), str(SECONDS),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert victims.stdout is not None
    killed: dict[str, datetime] = {}

    async def kill(recording: str, process: int, after: float) -> None:
        await asyncio.sleep(after)
        os.kill(process, signal.SIGKILL)
        killed[recording] = datetime.now(UTC)

    moments = random.Random(5)  # noqa: S311  # the same moments each time
    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as kills:
            for _ in range(KILLS):
                number, process = (await victims.stdout.readline()).split()
                after = moments.uniform(0.3, SECONDS - 4)
                kills.create_task(kill(f"rec{number.decode()}", int(process), after))
    finally:
        await victims.wait()
    return killed


def frames(path: Path) -> dict[tuple[str, str], int]:
    """Decode a film whole; count each track's frames."""
    counted: dict[tuple[str, str], int] = {}
    with av.open(str(path)) as film:
        names = {s.index: (s.metadata["title"], str(s.type)) for s in film.streams}
        for packet in film.demux():
            name = names[packet.stream.index]
            counted[name] = counted.get(name, 0) + len(packet.decode())
    return counted


@pytest.mark.rule("V8")
async def test_fifty_killed_recordings_are_playable_to_within_five_seconds(tmp_path: Path) -> None:
    killed = await kill_at_random(tmp_path)

    assert len(killed) == KILLS
    for recording, at in killed.items():
        footage = await asyncio.to_thread(finish, tmp_path, recording)
        if footage is None:
            # it was killed before it had its name
            assert journal.parts(tmp_path, recording) == []
            continue
        lasted = (at - footage.started_at).total_seconds()
        lost = lasted - footage.duration_ms / 1000
        assert lost < MAY_LOSE_SECONDS, recording
        if lasted > MAY_LOSE_SECONDS:
            counted = frames(tmp_path / f"{recording}.film")
            expected = lasted - MAY_LOSE_SECONDS
            assert {user for user, _ in counted} == {EVERYBODY, "doctor", "patient"}
            for (_, kind), number in counted.items():
                assert number >= expected * (50 if kind == "audio" else 20), recording
