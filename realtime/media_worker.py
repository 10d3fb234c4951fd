"""The entry of a media worker's process: its settings as JSON arguments, its socket as stdin."""

import asyncio
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import uvloop

from care.policy import MediaPolicy
from realtime import logs
from realtime.settings import LogSettings
from signalling.media.ports import PortLoop
from signalling.media.worker import MediaWorker


async def run(policy: MediaPolicy, recordings: Path) -> None:
    """Serve until told to end."""
    serving = asyncio.current_task()
    if serving is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    await MediaWorker(policy, recordings).serve(socket.socket(fileno=sys.stdin.fileno()))


def main() -> None:
    given, log, recordings = sys.argv[1:]
    logs.configure(LogSettings.model_validate_json(log))
    policy = MediaPolicy.model_validate_json(given)
    loop = partial(PortLoop, *policy.ports) if policy.ports else uvloop.new_event_loop
    try:
        uvloop.run(run(policy, Path(recordings)), loop_factory=loop)
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    main()
