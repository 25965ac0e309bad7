"""The benchmark: `make bench`, or a scenario with sizes of one's own.

Writes benchmarks/results/<date>-<scenario>.json and makes benchmarks/README.md of all results.
"""

import argparse
import asyncio
import importlib
import inspect
import logging
import signal
import sys
from pathlib import Path

import structlog

HERE = Path(__file__).resolve().parent
SCENARIOS = ("cycle", "first-point", "stream", "unchanged", "idle", "scale")


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    add = parser.add_argument
    add("--volumes", type=int, default=100, help="volumes of a tool (cycle), pairs (idle)")
    add("--changed", type=int, default=10, help="volumes that are written to in each round")
    add("--rounds", type=int, default=3, help="times that each tool is measured")
    add(
        "--pairs",
        type=lambda text: [int(count) for count in text.split(",")],
        help="pairs that share the volumes (cycle, 10), sizes of the fleet (scale, 1000,10000)",
    )
    add("--hosts", type=int, default=200, help="fake hosts (scale)")
    add("--changing", type=float, default=0.1, help="part of the volumes that change (scale)")
    add("--volume-mib", type=int, default=64, help="size of a volume")
    add("--write-kib", type=int, default=1024, help="new data in a changed volume")
    add("--stream-mib", type=int, default=512, help="new data in the one stream (stream)")
    add("--datasets", type=int, default=500, help="file systems of the tree (unchanged)")
    add("--snapshots", type=int, default=50, help="snapshots of each of them (unchanged)")
    add("--proxmox", action="store_true", help="time its list beside a survey, too (unchanged)")
    add(
        "--tools",
        type=lambda text: text.split(","),
        default=["backstay", "raw", "bzfs", "syncoid"],
        help="tools that are measured (cycle), backstay always",
    )
    add("--minutes", type=float, default=5.0, help="how long the operator is watched (idle, scale)")
    add("--keep", action="store_true", help="leave the datasets for a look")
    add("--out", type=Path, default=HERE / "results", help="folder of the result files")
    add("--readme-only", action="store_true", help="measure nothing, make the README again")
    given = parser.parse_args()
    unknown = set(given.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {SCENARIOS}")
    if not 0 < given.changed <= given.volumes:
        parser.error("--changed must be between 1 and --volumes")
    return given


def main() -> None:
    """The scenarios were measured one after the other, and the README shows them."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # what was made is cleared
    for folder in ("hack", "tests"):
        sys.path.insert(0, str(HERE.parent / folder))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    from bench.results import write_readme

    for name in [] if given.readme_only else given.scenarios or SCENARIOS:
        scenario = importlib.import_module(f"bench.{name.replace('-', '_')}")
        measured = scenario.measure(given)
        result = asyncio.run(measured) if inspect.iscoroutine(measured) else measured
        path = result.write(given.out)
        print(f"\n{result.title}")
        for figure in result.figures:
            print(f"  {figure.ratio:>8}  {figure.what}  ({figure.seconds})")
        print(f"  {path}\n")
    write_readme(given.out, given.out.parent / "README.md")


if __name__ == "__main__":
    main()
