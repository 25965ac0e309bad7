"""Tells stories for a long time, or one of them again (`make sim-long`)."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from sim.story import Failed, tell

STEPS = 5_000_000
A_STORY = 2000
FIRST_SEED = 1_000_000
"""None that `make test` tells."""


def main() -> int:
    """Stories until so many steps were made; 1 after the first one that is not true."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--seed", type=int, default=None, help="tell this story only")
    asked.add_argument("--steps", type=int, default=None, help="of all stories, or of this one")
    asked.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first story")
    args = asked.parse_args()
    try:
        if args.seed is not None:
            story = tell(args.seed, args.steps or A_STORY)
            print("\n".join(story.told))
            print(f"seed {args.seed}: {story.steps} steps, all is true")
        else:
            _tell_many(args.first, args.steps or STEPS)
    except Failed as failed:
        print(f"\n{failed}")
        return 1
    return 0


def _tell_many(seed: int, steps: int) -> None:
    began, done, kinds = time.perf_counter(), 0, Counter[str]()
    while done < steps:
        story = tell(seed, A_STORY)
        seed, done = seed + 1, done + story.steps
        kinds.update(story.kinds)
        took_s = time.perf_counter() - began
        left_s = max(0, steps - done) / (done / took_s)
        said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        line = f"{done:,} of {steps:,} steps ({said}), {done / took_s:.0f}/s, {left_s:.0f} s left"
        print(f"\r{line}", end="", flush=True)
    print(f"\nall is true, to seed {seed - 1}")


if __name__ == "__main__":
    sys.exit(main())
