"""`python -m bench [name …] [--quick]`: measure, print a table, write build/bench/*.json."""

import argparse
from collections.abc import Mapping

import uvloop

from bench import (
    acknowledged,
    calls,
    connected,
    deadlines,
    idle,
    lists,
    relay,
    relay_load,
    search,
    start,
)  # fmt: skip
from bench.report import Measurement, save, show

BENCHES: Mapping[str, Measurement] = {
    "acknowledged": acknowledged.measure,
    "idle": idle.measure,
    "start": start.measure,
    "search": search.measure,
    "deadlines": deadlines.measure,
    "calls": calls.measure,
    "connected": connected.measure,
    "lists": lists.measure,
    "relay": relay.measure,
    "relay_load": relay_load.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the server.")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="short runs, rough figures")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    for name in options.names or BENCHES:
        figures = uvloop.run(BENCHES[name](options.quick))
        show(name, figures)
        print(f"  -> {save(name, figures, options.quick)}")


if __name__ == "__main__":
    main()
