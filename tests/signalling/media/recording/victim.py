"""Record calls in processes that are there to be killed: `python -m … FOLDER COUNT SECONDS`.

Prints a line a recording: its number and its process. Each ends by itself after the seconds.
"""

import asyncio
import os
import signal
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from signalling.media.recording.writer import Recorder
from tests.signalling.media.recording.filming import Sent, arriving, side


async def record(folder: Path, recording: str, packets: list[tuple[float, Sent]]) -> None:
    """Pass the packets at their times, on and on."""
    recorder = Recorder(folder, recording, "call", datetime.now(UTC), print)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for arrival, sent in packets:
        await asyncio.sleep(began + arrival - loop.time())
        sent.pass_to(recorder, loop.time())


def main() -> None:
    folder, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    packets = arriving([*side("doctor", seconds=seconds), *side("patient", seconds=seconds)])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for number in range(count):
        child = os.fork()
        if not child:
            try:
                asyncio.run(record(folder, f"rec{number}", packets))
            except Exception:
                traceback.print_exc()
            os._exit(0)
        print(number, child, flush=True)  # noqa: T201  # to the one who kills


if __name__ == "__main__":
    main()
