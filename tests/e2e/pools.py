"""What lies in the pools, by commands of our own instead of the operator's."""

from __future__ import annotations

from worlds.api import LabHost


def snapshots(host: LabHost, dataset: str) -> dict[str, str]:
    """Short name → GUID of a dataset's snapshots, oldest first."""
    return _points(host, dataset, "snapshot", "@")


def bookmarks(host: LabHost, dataset: str) -> dict[str, str]:
    """Short name → GUID of a dataset's bookmarks, oldest first."""
    return _points(host, dataset, "bookmark", "#")


def _points(host: LabHost, dataset: str, kind: str, sign: str) -> dict[str, str]:
    listed = host.run(f"zfs list -Hp -d 1 -t {kind} -o name,guid -s createtxg {dataset}")
    rows = (line.split("\t") for line in listed.splitlines())
    return {name.partition(sign)[2]: guid for name, guid in rows}


def everything(host: LabHost, root: str) -> str:
    """All datasets, snapshots and bookmarks below a root, with their GUIDs and what they hold."""
    columns = "name,guid,referenced,receive_resume_token"
    return host.run(f"zfs list -Hp -r -t all -o {columns} -s name {root}")


def guid(host: LabHost, dataset: str) -> str:
    """The GUID of a dataset."""
    return host.run(f"zfs get -Hp -o value guid {dataset}").strip()


def exists(host: LabHost, dataset: str) -> bool:
    """Whether there is such a dataset, snapshot or bookmark."""
    return host.attempt(f"zfs list -t all {dataset}").returncode == 0


def make_volume(host: LabHost, volume: str, megabytes: int = 4, size: str = "64M") -> None:
    """A sparse volume that holds so much data that does not compress."""
    host.run(f"zfs create -s -V {size} {volume} && udevadm settle")
    write(host, volume, megabytes)


def write(host: LabHost, volume: str, megabytes: int = 1, at: int = 0) -> None:
    """New data is on the volume."""
    host.run(
        f"dd if=/dev/urandom of=/dev/zvol/{volume} bs=1M count={megabytes} seek={at} "
        "conv=notrunc,fsync status=none"
    )


def make_tree(host: LabHost, *file_systems: str) -> None:
    """File systems, parents first, with a file in each."""
    for name in file_systems:
        host.run(f"zfs create {name} && {_FILE.format(name=name)}")


def add_file(host: LabHost, file_system: str) -> None:
    """The file system holds one more file."""
    host.run(_FILE.format(name=file_system))


_FILE = "dd if=/dev/urandom of=/{name}/file-$(date +%s%N) bs=64k count=4 conv=fsync status=none"
