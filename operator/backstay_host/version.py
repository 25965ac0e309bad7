"""What tells one version of the protocol from another, without anyone keeping count."""

from __future__ import annotations

import dataclasses
import hashlib

from backstay_host import protocol


def protocol_version() -> str:
    """The protocol's number and a digest of all its messages: equal where both sides agree.

    Messages are read strictly, so one field more or less makes another version.
    """
    shapes = [
        f"{kind.__name__} " + " ".join(f"{f.name}:{f.type}" for f in dataclasses.fields(kind))
        for _, kind in sorted(vars(protocol).items())
        if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    ]
    digest = hashlib.sha256("\n".join(shapes).encode()).hexdigest()
    return f"{protocol.PROTOCOL_VERSION}.{digest[:8]}"
