"""Datasets of one run on the lab's hosts: made, written to, compared, and gone afterwards."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worlds import api, progress

LONG_S = 1800.0
"""A hundred volumes are made or destroyed in one command, on emulated hosts."""


@dataclass(frozen=True, slots=True)
class Field:
    """A tool's own volumes `root/v0 …` at the source, and the root of its replicas."""

    source: api.LabHost
    target: api.LabHost
    root: str
    replica_root: str
    volumes: int

    @property
    def names(self) -> list[str]:
        """Short names of the volumes."""
        return [f"v{number}" for number in range(self.volumes)]

    def make(self, size_mib: int) -> None:
        """The volumes are there, thin, each with 256 KiB of data; the replica root is empty."""
        names = " ".join(self.names)
        make = f"zfs create -s -V {size_mib}M {self.root}/$v"
        self.source.run(
            f"set -e; zfs create -p -o mountpoint=none {self.root}; for v in {names}; do {make}; "
            f"done; udevadm settle --timeout=300",
            timeout_s=LONG_S,
        )
        self.write(self.names, kib=256)
        create = f"zfs create -p -o mountpoint=none -o canmount=off {self.replica_root}"
        self.target.run(create, timeout_s=LONG_S)

    def write(self, names: Sequence[str], *, kib: int) -> None:
        """Each of these volumes has so much new random data, flushed to its device."""
        dd = f"dd if=/dev/urandom bs=64k count={max(kib // 64, 1)} conv=notrunc,fsync status=none"
        listed = " ".join(names)
        command = f"set -e; for v in {listed}; do {dd} of=/dev/zvol/{self.root}/$v; done"
        self.source.run(command, timeout_s=LONG_S)

    def check(self, changed: Sequence[str], names: Sequence[str] = ()) -> None:
        """The newest snapshot of each volume is at the target by GUID, and holds what was written.

        `names`: only these volumes are looked at.

        A tool that is quick because it leaves something out must not get a figure: RuntimeError.
        """
        listing = "zfs list -Hp -r -t snapshot -s createtxg -o name,guid"
        there = _guids(self.target.run(f"{listing} {self.replica_root}", timeout_s=LONG_S))
        here = _guids(self.source.run(f"{listing} {self.root}", timeout_s=LONG_S))
        behind = [
            n for n in names or self.names if not here.get(n) or here[n][-1] not in there.get(n, [])
        ]
        sizes = "zfs list -Hp -t volume -o name,written"
        wanted = " ".join(f"{self.root}/{name}" for name in changed)
        lines = self.source.run(f"{sizes} {wanted}").splitlines() if changed else []
        unsent = [line for line in lines if line.split("\t")[1] != "0"]
        if behind or unsent:
            raise RuntimeError(f"{self.root}: not at the target {behind}, not snapshotted {unsent}")


def _guids(listing: str) -> dict[str, list[str]]:
    """GUIDs of snapshots by the last part of their volume's name, oldest first."""
    found: dict[str, list[str]] = {}
    for line in listing.splitlines():
        name, guid = line.split("\t")
        found.setdefault(name.partition("@")[0].rpartition("/")[2], []).append(guid)
    return found


@dataclass(frozen=True, slots=True)
class Grounds:
    """One run's roots `tank/bench-…` at the source and `backup/bench-…` at the target."""

    source: api.LabHost
    target: api.LabHost
    name: str

    def field(self, tool: str, volumes: int) -> Field:
        """The field of one tool; nothing is made yet."""
        return Field(
            self.source,
            self.target,
            f"tank/{self.name}/{tool}",
            f"backup/{self.name}/{tool}",
            volumes,
        )

    def started(self) -> int:
        """Processes and threads that both hosts started since they booted, whoever asked."""
        command = "awk '/^processes/ {print $2}' /proc/stat"
        return sum(int(host.run(command)) for host in (self.source, self.target))

    def clear(self) -> None:
        """Nothing of this run is left at the hosts."""
        for host, root in ((self.source, "tank"), (self.target, "backup")):
            done = host.attempt(f"zfs destroy -r {root}/{self.name}", timeout_s=LONG_S)
            if done.returncode and "does not exist" not in done.stderr:
                progress.say(f"{host.name}: {root}/{self.name} stays: {done.stderr.strip()}")


@contextlib.contextmanager
def grounds(*, keep: bool = False) -> Iterator[Grounds]:
    """Grounds on the lab's first two hosts, which are started if need be; cleared at the end."""
    (source, target, *_), _ = api.ensure_hosts()
    ours = Grounds(source, target, f"bench-{secrets.token_hex(3)}")
    try:
        yield ours
    finally:
        if keep:
            progress.say(f"kept: tank/{ours.name} and backup/{ours.name}")
        else:
            progress.say("clearing the hosts")
            ours.clear()
