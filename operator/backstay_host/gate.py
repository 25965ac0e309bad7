"""`gate`: the forced command of a key (sshd(8), `command=` in *AUTHORIZED_KEYS FILE FORMAT*).

sshd runs it whatever was asked for, and says in SSH_ORIGINAL_COMMAND what that was. Only `serve`
and `stream TICKET` of this very program are admitted, under the lists of the command line; a
program that comes through ssh, or any other command, never runs. `--only stream` leaves out
`serve`: such a key, the data key of *Direct* streams, is worth nothing without a ticket.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

from backstay_host.allow import Allowed
from backstay_host.protocol import HELLO_MARK
from backstay_host.refusal import Refused
from backstay_host.zfs import names

USAGE = "usage: backstay-host gate [--only stream] [--send DATASET]… [--receive DATASET]…"
NOT_ADMITTED = 3
"""Exit status of a `stream` that no session knows of (`stream.NO_SERVE`)."""
_WRONG_LINE = "the forced command in authorized_keys is wrong"
_ADMITTED = re.compile(r"backstay-host (?:serve|stream ([0-9a-f]{32}\.[0-9a-f]{32}))")


def read_lists(arguments: Sequence[str]) -> Allowed:
    """The lists of a command line; `NotAllowed` when it is none, or admits nothing at all."""
    lists: dict[str, list[str]] = {"--send": [], "--receive": []}
    if not arguments or len(arguments) % 2:
        raise Refused("NotAllowed", f"{_WRONG_LINE}; {USAGE}")
    only_streams = tuple(arguments[:2]) == ("--only", "stream")
    pairs = arguments[2:] if only_streams else arguments
    for option, prefix in zip(pairs[::2], pairs[1::2], strict=True):
        if option not in lists:
            raise Refused("NotAllowed", f"{_WRONG_LINE}: no option {option[:40]!r}; {USAGE}")
        try:
            lists[option].append(names.dataset(prefix))
        except Refused as error:
            raise Refused("NotAllowed", f"{_WRONG_LINE}: {error.message}") from error
    return Allowed(tuple(lists["--send"]), tuple(lists["--receive"]), only_streams)


def admitted_ticket(asked: str) -> str | None:
    """The ticket of a command that may run, None when it is `serve`; else `NotAllowed`."""
    found = _ADMITTED.fullmatch(asked)
    if found is None:
        shown = f"not {asked[:60]!r}" if asked else "no shell"
        raise Refused(
            "NotAllowed",
            f"this key admits `backstay-host serve` and its streams, {shown}: set "
            f"spec.hosts[].program of the Site to Installed",
        )
    ticket: str | None = found.group(1)
    return ticket


def run(arguments: Sequence[str], asked: str) -> int:
    """What was asked for was served within the lists; the exit status."""
    try:
        allowed = read_lists(arguments)
        ticket = admitted_ticket(asked)
        if ticket is None and allowed.only_streams:
            raise Refused("NotAllowed", "this key is for streams: it admits nothing but a ticket")
    except Refused as error:
        if not asked.startswith("backstay-host stream"):  # there, stdout is for data only
            said = {"error": {"reason": error.reason, "message": error.message}}
            sys.stdout.write(HELLO_MARK + json.dumps(said) + "\n")
            sys.stdout.flush()
            raise
        sys.stderr.write(f"backstay-host: {error}\n")
        return NOT_ADMITTED
    if ticket is not None:
        from backstay_host import stream

        return stream.run(ticket, allowed)
    from backstay_host.serve import Session

    return Session(0, 1, allowed).run()
