"""The program's entry: a server that is told to stop ends well from its first moment on."""

import os
import signal
import sys


def main() -> None:
    """Run the command line, whose imports alone take half a second."""
    if sys.argv[1:2] == ["serve"]:
        # until there is a loop to hear of it nothing is begun that would have to be ended in order
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: os._exit(0))
    from realtime.cli_commands import main as run  # noqa: PLC0415  not before the signal's handler

    run()


if __name__ == "__main__":
    main()
