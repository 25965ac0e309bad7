"""Every argument vector of `zfs` and `zpool`; nothing else builds one (others: `carriers`).

Never among them: `receive -F`, `rollback -r/-R/-f`, `destroy -r/-R/-f`, `send -R/-I` (rule *No
implicit destruction*). Sources: zfs-list(8), zfs-get(8), zfs-send(8), zfs-receive(8),
zfs-destroy(8), zfs-snapshot(8), zfs-bookmark(8), zfs-create(8), zfs-set(8), zfs-rename(8),
zfs-clone(8), zfs-promote(8), zfs-rollback(8), zfs-mount(8), zfs-program(8), zpool-list(8),
zpool-sync(8).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from backstay_host.values import ReceiveOrder, SendOrder

Argv = list[str]

DATASET_COLUMNS = (
    "name", "type", "guid", "createtxg", "written", "referenced", "available", "volsize",
    "readonly", "mounted", "encryption", "origin", "receive_resume_token", "used",
    "encryptionroot",
)  # fmt: skip
"""Native columns only: a user property in here could forge rows with tabs and newlines."""
CHANGED = "snapshots_changed"
POINT_COLUMNS = ("name", "guid", "createtxg")
MADE_COLUMNS = (*POINT_COLUMNS, "ivsetguid")
MOUNT_COLUMNS = ("name", "type", "mounted", "mountpoint")
HEAD_COLUMNS = ("name", "guid", "origin", "written")
ENCRYPTION_COLUMNS = ("name", "guid", "ivsetguid", "keystatus")
"""`ivsetguid` is a hidden property of snapshots and bookmarks (zfs_prop.c, since 0.8)."""
LOCAL_COLUMNS = ("name", "property", "value", "property", "name")
"""As many as `zfs get` takes (ZFS_GET_NCOLS, libzfs.h); one may come twice (zfs_do_get, since 2.1
at least).
"""
POOL_COLUMNS = ("name", "guid", "health", "size", "free")
WRITER = "dev.backstay:writer"
LINEAGE = "dev.backstay:lineage"
ROLE = "dev.backstay:role"
ROLE_EPOCH = "dev.backstay:roleepoch"
STREAM = "dev.backstay:stream"
USER_PROPERTIES = (
    LINEAGE, "dev.backstay:source", ROLE, ROLE_EPOCH, WRITER, "dev.backstay:asideof",
    "dev.backstay:branchedat", "dev.backstay:renamedfrom", "dev.backstay:resolvedby",
    "dev.backstay:promotedfrom", STREAM,
)  # fmt: skip
"""All of ours; names of user properties have no capitals, zfsprops(7)."""

MAX_ARGV_BYTES = 100 * 1024


def size_bytes(argv: Iterable[str]) -> int:
    """What execve(2) counts for these strings: the bytes, a NUL and a pointer each."""
    return sum(len(text.encode()) + 1 + 8 for text in argv)


def chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, in lists that fit into one command line each."""
    chunk: list[str] = []
    used = 0
    for text in texts:
        size = size_bytes([text])
        if chunk and used + size > MAX_ARGV_BYTES:
            yield chunk
            chunk, used = [], 0
        chunk.append(text)
        used += size
    if chunk:
        yield chunk


def fits_one_command(argv: Sequence[str]) -> bool:
    """Whether the kernel takes this vector; half of ARG_MAX is left to the environment."""
    return size_bytes(argv) <= os.sysconf("SC_ARG_MAX") // 2


# --- reads --------------------------------------------------------------------------------------


def version() -> Argv:
    """Versions of the tools and of the kernel module."""
    return ["zfs", "version"]


def list_pools() -> Argv:
    """The imported pools."""
    return ["zpool", "list", "-Hp", "-o", ",".join(POOL_COLUMNS)]


def list_datasets(names: Sequence[str], recursive: bool) -> Argv:
    """File systems and volumes: these, or these and all below them."""
    depth = ["-r"] if recursive else ["-d", "0"]
    columns = ",".join(DATASET_COLUMNS)
    return ["zfs", "list", "-Hp", "-t", "filesystem,volume", "-o", columns, *depth, *names]


def get_facts(names: Sequence[str], recursive: bool, settings: Sequence[str] = ()) -> Argv:
    """Native and user properties of file systems and volumes: these, or these and all below them.

    From OpenZFS 2.3 on, see `get_local`; as quick as `zfs list` of the same datasets.
    """
    properties = ",".join((*DATASET_COLUMNS[1:], CHANGED, *USER_PROPERTIES, *settings))
    depth = ["-r"] if recursive else []
    return ["zfs", "get", "-j", "-p", *depth, "-t", "filesystem,volume", properties, *names]


def list_points(names: Sequence[str], recursive: bool) -> Argv:
    """Snapshots and bookmarks of these datasets (and of all below them), oldest first."""
    depth = ["-r"] if recursive else ["-d", "1"]
    columns = ",".join(POINT_COLUMNS)
    return [
        "zfs", "list", "-Hp", "-t", "snapshot,bookmark", "-o", columns, "-s", "createtxg",
        *depth, *names,
    ]  # fmt: skip


def list_made(names: Sequence[str]) -> Argv:
    """GUID, txg and IV set of snapshots, bookmarks and datasets, by full name."""
    columns = ",".join(MADE_COLUMNS)
    kinds = "filesystem,volume,snapshot,bookmark"
    return ["zfs", "list", "-Hp", "-t", kinds, "-o", columns, *names]


def list_identities(names: Sequence[str]) -> Argv:
    """GUID and resume token of whatever bears these full names."""
    kinds = "filesystem,volume,snapshot,bookmark"
    return ["zfs", "list", "-Hp", "-t", kinds, "-o", "name,guid,receive_resume_token", *names]


def list_heads(names: Sequence[str]) -> Argv:
    """What file systems and volumes are right now: identity, origin, bytes since a snapshot."""
    columns = ",".join(HEAD_COLUMNS)
    return ["zfs", "list", "-Hp", "-t", "filesystem,volume", "-o", columns, *names]


def list_encryption(names: Sequence[str]) -> Argv:
    """IV set and key status of datasets, snapshots and bookmarks, by full name."""
    kinds = "filesystem,volume,snapshot,bookmark"
    return ["zfs", "list", "-Hp", "-t", kinds, "-o", ",".join(ENCRYPTION_COLUMNS), *names]


def list_written(snapshots: Sequence[str], names: Sequence[str]) -> Argv:
    """Bytes written to each dataset since its snapshot of each short name (`-` if it has none)."""
    columns = ["name", *(f"written@{snapshot}" for snapshot in snapshots)]
    kinds = "filesystem,volume"
    return ["zfs", "list", "-Hp", "-t", kinds, "-o", ",".join(columns), *names]


def list_readonly(names: Sequence[str]) -> Argv:
    """Whether each dataset is read-only, `on` or `off`."""
    return ["zfs", "list", "-Hp", "-t", "filesystem,volume", "-o", "name,readonly", *names]


def list_mounts(names: Sequence[str]) -> Argv:
    """What each dataset is, and where and whether it is mounted."""
    columns = ",".join(MOUNT_COLUMNS)
    return ["zfs", "list", "-Hp", "-t", "filesystem,volume", "-o", columns, *names]


def get_local(properties: Sequence[str], names: Sequence[str], *, json: bool) -> Argv:
    """These user properties, where they were set on the dataset itself.

    `json` from OpenZFS 2.3 on. Seen on 2.3.9: with `-j` and one missing name nothing at all is
    printed, so only existing names may be asked for; and `zfs list -j` gives wrong sources. The
    table has each name on either side of the value (see `parsing.local_properties_table`).
    """
    form = ["-j", "-p"] if json else ["-Hp", "-o", ",".join(LOCAL_COLUMNS)]
    kinds = "filesystem,volume"
    return ["zfs", "get", *form, "-s", "local", "-t", kinds, ",".join(properties), *names]


def decode_token(token: str) -> Argv:
    """The contents of a resume token.

    Seen on 2.3.9: they are printed on stdout even where the snapshot does not exist (exit 255).
    """
    return ["zfs", "send", "-nvt", token]


# --- changes ------------------------------------------------------------------------------------


def sync_pools(pools: Sequence[str]) -> Argv:
    """What was written so far is on disk and counted afterwards."""
    return ["zpool", "sync", *pools]


def take_snapshot(datasets: Sequence[str], snapshot: str) -> Argv:
    """One atomic snapshot of all the datasets."""
    return ["zfs", "snapshot", *(f"{dataset}@{snapshot}" for dataset in datasets)]


def make_bookmark(snapshot: str, bookmark: str) -> Argv:
    """A bookmark (`dataset#name`) of a snapshot (`dataset@name`)."""
    return ["zfs", "bookmark", snapshot, bookmark]


def create_parent(dataset: str) -> Argv:
    """A file system that is never mounted; its mount point stays inherited for those below."""
    return ["zfs", "create", "-o", "canmount=off", dataset]


def destroy_snapshots(dataset: str, snapshots: Sequence[str]) -> Argv:
    """These snapshots of one dataset, all or none; refuses held and cloned ones."""
    return ["zfs", "destroy", f"{dataset}@{','.join(snapshots)}"]


def destroy_bookmark(bookmark: str) -> Argv:
    """One bookmark (`dataset#name`)."""
    return ["zfs", "destroy", bookmark]


def abort_receive(dataset: str) -> Argv:
    """The partial receive is gone; after an interrupted first receive, so is the dataset."""
    return ["zfs", "receive", "-A", dataset]


def set_properties(properties: Mapping[str, str], datasets: Sequence[str]) -> Argv:
    """These properties on each of the datasets."""
    return ["zfs", "set", *(f"{k}={v}" for k, v in properties.items()), *datasets]


def run_program(pool: str, words: Sequence[str]) -> Argv:
    """A channel program of `programs.py`, read from standard input, with its arguments."""
    return ["zfs", "program", "-j", pool, "-", *words]


def reserve_volume(dataset: str) -> Argv:
    """A volume has the space that all of its current size can need."""
    return ["zfs", "set", "refreservation=auto", dataset]


def mount(dataset: str) -> Argv:
    """The file system is mounted."""
    return ["zfs", "mount", dataset]


def destroy_clone(dataset: str) -> Argv:
    """One dataset without snapshots and children, and nothing else."""
    return ["zfs", "destroy", dataset]


def inherit(name: str, dataset: str) -> Argv:
    """The property is not the dataset's own any more."""
    return ["zfs", "inherit", name, dataset]


def create_aside(root: str) -> Argv:
    """Where datasets are set aside: nothing below it is mounted by itself."""
    return ["zfs", "create", "-o", "canmount=off", "-o", "mountpoint=none", root]


def rename(dataset: str, to: str, *, volume: bool) -> Argv:
    """The dataset and all below it bear the new name; a mounted file system is left mounted.

    `-u` is for file systems: with it, `zfs rename` does not find a volume (zfs_main.c).
    """
    return ["zfs", "rename", *([] if volume else ["-u"]), dataset, to]


def clone(snapshot: str, dataset: str, properties: Mapping[str, str]) -> Argv:
    """A clone with these properties; without them it would have none of its origin's."""
    options = [word for k, v in properties.items() for word in ("-o", f"{k}={v}")]
    return ["zfs", "clone", *options, snapshot, dataset]


def promote(dataset: str) -> Argv:
    """The clone has the snapshots up to its origin, and the origin's dataset is its clone."""
    return ["zfs", "promote", dataset]


def rollback(snapshot: str) -> Argv:
    """The dataset is as its newest snapshot; refused while anything newer exists."""
    return ["zfs", "rollback", snapshot]


def send(order: SendOrder) -> Argv:
    """The stream of one order on stdout, its progress on stderr.

    A token carries the mode of the stream that it resumes.
    """
    if order.token is not None:
        return ["zfs", "send", "-vP", "-t", order.token]
    base = [] if order.base is None else ["-i", order.base]
    return ["zfs", "send", f"-{order.mode}", "-vP", *base, f"{order.dataset}@{order.snapshot}"]


def receive(order: ReceiveOrder) -> Argv:
    """One stream from stdin into the dataset of the order, resumable and never mounted.

    Seen on 2.3.9: properties of `-o` are set, as local ones, before the first data arrives; a
    resumed receive keeps them, so they are given on the first one only.
    """
    set_ = [*order.properties.items(), *([("origin", order.origin)] if order.origin else [])]
    options = [word for k, v in set_ for word in ("-o", f"{k}={v}")]
    return ["zfs", "receive", "-s", "-u", *options, order.dataset]
