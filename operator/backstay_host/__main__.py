"""`backstay-host serve`, `stream TICKET`, `gate LISTS`, and `install`."""

from __future__ import annotations

import os
import queue
import sys
import types
from collections.abc import Sequence
from typing import NoReturn

from backstay_host.refusal import Refused

USAGE = "usage: backstay-host serve | stream TICKET | gate LISTS | install [PATH]\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status; threads that still read are left behind on purpose."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    status = _run(given)
    sys.stderr.flush()
    os._exit(status)


def spare_imports() -> None:
    """A later `import sh` costs half as much; every stream is a new process.

    `sh` 2 imports asyncio for callers that await its commands, and asks whether a loop runs before
    it uses any of it; here none ever does. It imports importlib.metadata for its own version,
    which a zip does not have. Seen on an emulated host: 0.5 and 0.1 of 1.7 s.
    """
    if "asyncio" not in sys.modules:
        stand_in = types.ModuleType("asyncio")
        stand_in.__dict__.update(Queue=queue.Queue, get_running_loop=_no_loop)
        sys.modules["asyncio"] = stand_in
    if "importlib.metadata" not in sys.modules:
        unknown = types.ModuleType("importlib.metadata")
        unknown.__dict__.update(PackageNotFoundError=LookupError, version=_no_version)
        sys.modules["importlib.metadata"] = unknown


def _no_loop() -> NoReturn:
    raise RuntimeError("no running event loop")


def _no_version(name: str) -> NoReturn:
    raise LookupError(name)


def _run(given: list[str]) -> int:
    spare_imports()
    try:
        if given == ["serve"]:
            from backstay_host.serve import Session

            return Session(0, 1).run()
        if len(given) == 2 and given[0] == "stream":
            from backstay_host.stream import run

            return run(given[1])
        if given[:1] == ["gate"]:
            from backstay_host import gate

            return gate.run(given[1:], os.environ.get("SSH_ORIGINAL_COMMAND", ""))
        if given[:1] == ["install"]:
            from backstay_host import install

            return install.run(given[1:])
    except Refused as error:
        sys.stderr.write(f"backstay-host: {error}\n")
        return 1
    sys.stderr.write(USAGE)
    return 2


if __name__ == "__main__":
    main()
