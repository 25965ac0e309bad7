"""Keys of a test's own, and the lines that admit them at a lab host."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from backstay.api.v1alpha1.site import Host
from backstay.report.grant import Grant
from worlds.hosts import LabHost


def new_key(folder: Path) -> tuple[bytes, str]:
    """A key pair that no host knows: the private key, and the public one as type and base64."""
    file = folder / "key"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    public = file.with_suffix(".pub").read_text(encoding="ascii").split()
    return file.read_bytes(), " ".join(public[:2])


def data_line(host: LabHost, public: str) -> str:
    """The line of a data key at a host that is fed its program, for all of its pools."""
    grant = Grant(
        site="contract/lab",
        host=Host(name=host.name, address=host.address, host_keys=host.host_keys),
        send=(),
        receive=("backup", "tank"),
        pairs=(),
        public_key=None,
        data_key=public,
    )
    assert grant.data_line is not None
    return grant.data_line


@contextmanager
def admitted(lines: Mapping[LabHost, str], public: str) -> Iterator[None]:
    """Each host admits the key by its line; afterwards none does."""
    for host, line in lines.items():
        host.run("cat >> ~/.ssh/authorized_keys", given=f"{line}\n")
    try:
        yield
    finally:
        for host in lines:
            # No other line has this key: nothing else goes.
            host.attempt(f"sed -i '\\|{public.split()[1]}|d' ~/.ssh/authorized_keys")
