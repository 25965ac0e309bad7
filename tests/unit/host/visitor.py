"""A process that comes with a ticket and carries nothing out; prints what it is told, as JSON.

Never the tests' own process: a session kills whoever came with its ticket and does not end.
"""

from __future__ import annotations

import json
import socket
import sys

from backstay_host.codec import encode_frame
from backstay_host.wire import read_frame


def main(path: str, ticket: str, stays: bool) -> None:
    """The ticket was shown; then gone at once, or listening until the session ends the link."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(encode_frame({"ticket": ticket}))
        while stays and (frame := read_frame(link.recv)) is not None:
            print(json.dumps(frame), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "stays")
