"""What backstay is measured against: bzfs, syncoid, and what one would type by hand."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.grounds import Field
from worlds import cache, packages
from worlds.api import LabHost

CYCLE_S = 3600.0
ORGANIZATION = "bench"


class PeerError(RuntimeError):
    """A peer ended with a failure: there is no figure then."""


class Bzfs:
    """bzfs in pull-push mode: it runs here and reaches both hosts through ssh.

    Its own connections stay open between calls (ControlMaster, 600 s), and its flags are those that
    its job template names for performance under frequent runs, also where they give up a check
    that backstay makes: the peer is to be as fast as it can be.
    """

    FAST = (
        "--no-estimate-send-size",  # no `zfs send -n` first
        "--no-resume-recv",  # no look for a resume token first
        "--ps-program=-",  # no look for a second `zfs receive` into the same dataset
        "--pv-program=-",
        "--mbuffer-program=-",
        "--compression-program=-",
        "--threads=200%",
    )

    def __init__(self, field: Field, *, rounds: int) -> None:
        """`rounds`: how many cycles are to come, all of whose snapshots are kept."""
        self._field = field
        self._folder = Path(tempfile.mkdtemp(prefix="bench-bzfs-"))
        self._strangers = _sockets()
        config = self._folder / "bzfs_ssh_config"
        config.write_text(field.source.ssh_config.read_text(encoding="utf-8"), encoding="utf-8")
        program = Path(sys.executable).with_name("bzfs")
        if not program.exists():
            raise PeerError("bzfs is not installed: `uv sync --group bench`, or `make bench`")
        self._argv = [
            str(program),
            f"{field.source.name}:{field.root}",
            f"{field.target.name}:{field.replica_root}",
            "--recursive",
            "--skip-parent",
            f"--ssh-src-config-file={config}",
            f"--ssh-dst-config-file={config}",
            f"--log-dir={self._folder / 'bzfs-logs'}",
            "--quiet",
            *self.FAST,
        ]
        plan = {ORGANIZATION: {"": {"secondly": rounds + 10}}}
        self._create = [
            "--create-src-snapshots",
            f"--create-src-snapshots-plan={plan}",
            "--create-src-snapshots-even-if-not-due",  # no list of snapshots first
            "--create-src-snapshots-timeformat=%Y-%m-%d_%H:%M:%S.%f",
        ]

    @property
    def version(self) -> str:
        """Of the installed package."""
        return importlib.metadata.version("bzfs")

    def cycle(self) -> None:
        """A snapshot of every volume, and all that the target lacks is sent."""
        _run("bzfs", [*self._argv, *self._create])

    def replicate(self) -> None:
        """What the target lacks is sent; volumes whose snapshots did not change are passed over."""
        _run("bzfs", [*self._argv, "--cache-snapshots"])

    def shown(self) -> str:
        """The command line of a cycle, without this machine's paths."""
        words = [w for w in [*self._argv[1:], *self._create] if str(self._folder) not in w]
        return shlex.join(["bzfs", *words])

    def close(self) -> None:
        """Connections that it opened since we began are closed and its files are gone."""
        for socket in _sockets() - self._strangers:
            argv = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "nobody"]
            subprocess.run(argv, capture_output=True, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)


def _sockets() -> set[Path]:
    """Open connections of bzfs; it keeps them below the account's own folder, not $HOME."""
    folder = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh" / "bzfs"
    return {path for path in folder.rglob("*") if path.is_socket()} if folder.exists() else set()


class Tree:
    """All volumes by hand: one recursive snapshot, one `zfs send -R` into one `zfs receive`.

    Over connections that stay open, and nobody looks whether anything arrived.
    """

    def __init__(self, field: Field) -> None:
        """Nothing has been sent yet."""
        self._field = field
        self._last = ""

    def seed(self) -> None:
        """The target has all volumes, which replaces the empty root of replicas there."""
        self._field.target.run(f"zfs destroy {self._field.replica_root}")
        self.snapshot("seed")
        self._send("seed", "")

    def cycle(self, mark: str) -> None:
        """All volumes are snapshotted and sent."""
        self.snapshot(mark)
        self._send(mark, f"-I @{self._last} ")

    def snapshot(self, mark: str) -> None:
        """All volumes have a snapshot of this name."""
        self._field.source.run(f"zfs snapshot -r {self._field.root}@{mark}", timeout_s=CYCLE_S)

    def _send(self, mark: str, base: str) -> None:
        field = self._field
        send = f"zfs send -R -Lec {base}{field.root}@{mark}"
        pipe(field.source, send, field.target, f"zfs receive -u {field.replica_root}")
        self._last = mark


class Syncoid:
    """syncoid of Debian 13, which runs here and reaches both hosts through ssh.

    It replicates what is there: one recursive snapshot by hand costs it less than one of its own
    of each volume. Its flags leave out what it need not do here (compression, a look for a token),
    and what it has no use for without pv and mbuffer; it opens one connection a host and call.
    """

    FAST = (
        "--no-sync-snap",
        "--no-resume",
        "--compress=none",
        "--sendoptions=L e c",
        "--recvoptions=u",
    )

    def __init__(self, field: Field) -> None:
        """The program is in the cache."""
        self._by_hand = Tree(field)
        folder = cache.built("syncoid", _fetch_syncoid)
        self._argv = [
            "perl",
            f"-I{folder / 'usr/share/perl5'}",
            str(folder / "usr/sbin/syncoid"),
            f"--sshconfig={field.source.ssh_config}",
            "--recursive",
            "--skip-parent",
            "--quiet",
            *self.FAST,
            f"root@{field.source.name}:{field.root}",
            f"root@{field.target.name}:{field.replica_root}",
        ]

    @property
    def version(self) -> str:
        """As it says it."""
        argv = [*self._argv[:3], "--version"]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return said.split("version", 1)[1].split()[0]

    def seed(self) -> None:
        """The target has all volumes; by hand, for that is not what is measured."""
        self._by_hand.seed()

    def cycle(self, mark: str) -> None:
        """All volumes are snapshotted and sent."""
        self._by_hand.snapshot(mark)
        _run("syncoid", self._argv)

    def shown(self) -> str:
        """The command line of a cycle, without this machine's paths."""
        words = [word for word in self._argv[3:] if not word.startswith("--sshconfig")]
        return shlex.join(["syncoid", *words])


def _fetch_syncoid(folder: Path) -> None:
    source = packages.archive()
    if source is None:
        raise PeerError("syncoid is fetched from a Debian archive, and this machine knows none")
    packages.unpack(source[0], "trixie", ("sanoid", "libcapture-tiny-perl"), folder)


def _run(tool: str, argv: Sequence[str]) -> None:
    """The peer has ended well."""
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=CYCLE_S,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise PeerError(f"{tool} ended with status {done.returncode}:\n{said}")


def pipe(source: LabHost, send: str, target: LabHost, receive: str, *, shared: bool = True) -> None:
    """What a shell does with `ssh source send | ssh target receive`."""
    with subprocess.Popen(
        source.ssh_argv(send, shared=shared), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as sender:
        received = subprocess.run(
            target.ssh_argv(receive, shared=shared),
            stdin=sender.stdout,
            capture_output=True,
            check=False,
            timeout=CYCLE_S,
        )
    if received.returncode or sender.returncode:
        said = received.stderr.decode(errors="replace")
        raise PeerError(f"{send} | {receive}: {sender.returncode}, {received.returncode}: {said}")


def project_commit() -> str:
    """The commit that was measured, with `+` when files of the operator differ from it."""
    git = ["git", "-C", str(cache.PROJECT)]
    commit = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    )
    status = [*git, "status", "--porcelain", "operator"]
    changed = subprocess.run(status, capture_output=True, text=True, check=True)
    return commit.stdout.strip() + ("+" if changed.stdout else "")
