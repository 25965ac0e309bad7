"""`backstay-host serve` and `backstay-host stream TICKET`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from backstay_host.refusal import Refused

USAGE = "usage: backstay-host serve | backstay-host stream TICKET\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status; threads that still read are left behind on purpose."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    status = _run(given)
    sys.stderr.flush()
    os._exit(status)


def _run(given: list[str]) -> int:
    try:
        if given == ["serve"]:
            from backstay_host.serve import Session

            return Session(0, 1).run()
        if len(given) == 2 and given[0] == "stream":
            from backstay_host.stream import run

            return run(given[1])
    except Refused as error:
        sys.stderr.write(f"backstay-host: {error}\n")
        return 1
    sys.stderr.write(USAGE)
    return 2


if __name__ == "__main__":
    main()
