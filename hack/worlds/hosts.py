"""The lab's ZFS hosts as tests and tools use them: started, reachable, with fresh pools."""

import hashlib
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from worlds import cache, identity, progress
from worlds.machine import POOLS, Machine

BOOT_S = 600.0  # fifteen times a usual boot: both cores may be busy with builds
_USUAL_BOOT_S = 90.0
_POLL_S, _SPEAK_S = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class LabHost:
    """A running host: where it is, who it is, how to run a command there."""

    name: str
    address: str
    port: int
    host_keys: tuple[str, ...]
    key_path: Path
    ssh_config: Path
    pools: tuple[str, ...]
    machine: Machine
    address_from_hosts: str = identity.GATEWAY

    def ssh_argv(self, command: str, *, shared: bool = True) -> list[str]:
        """The ssh command line that runs `command` as root; `shared`: over a kept connection."""
        argv = ["ssh", "-F", str(self.ssh_config)]
        if shared:
            argv += [
                "-o",
                "ControlMaster=auto",
                "-o",
                "ControlPersist=60",
                "-o",
                f"ControlPath={_sockets()}/%C",
            ]
        return [*argv, self.name, "--", command]

    def run(self, command: str, *, given: str | None = None, timeout_s: float = 120.0) -> str:
        """What `command` prints; a failure is a RuntimeError with what it said."""
        done = self.attempt(command, given=given, timeout_s=timeout_s)
        if done.returncode:
            raise RuntimeError(
                f"{self.name}: {command}: status {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def attempt(
        self, command: str, *, given: str | None = None, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` whatever comes of it."""
        source: dict[str, object] = (
            {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
        )
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            self.ssh_argv(command),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            **source,
        )

    def is_up(self, within_s: int = 30) -> bool:
        """Whether a new ssh connection is there `within_s` seconds and runs a command."""
        argv = self.ssh_argv("true", shared=False)
        argv[1:1] = ["-o", f"ConnectTimeout={within_s}", "-o", "LogLevel=QUIET"]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=within_s + 30, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def make_pools(self) -> None:
        """Every pool is there; those that are stay as they are."""
        for pool in self.pools:
            self.run(_CREATE.format(pool=pool))

    def reset_pools(self) -> None:
        """Every pool is new and empty."""
        for pool in self.pools:
            self.run(_RESET.format(pool=pool))

    def power_cycle(self) -> None:
        """Cut the power (-9), boot again with the same disks, wait for ssh."""
        known = identity.identities([self.name])
        self.machine.process.kill()
        self.hang_up()
        _boot([self.machine], known)
        for pool in self.pools:  # a pool that does not come back by itself is a finding
            self.run(f"zpool list {pool}")

    def hang_up(self) -> None:
        """End the kept ssh connection, if there is one."""
        argv = self.ssh_argv("")[:-3]
        subprocess.run([*argv, "-O", "exit", self.name], capture_output=True, check=False)


_CREATE = (
    "zpool list -H -o name {pool} >/dev/null 2>&1 || {{ udevadm settle; "
    "zpool create -f -O compression=lz4 -O atime=off {pool} /dev/disk/by-id/virtio-{pool}; }}"
)
_RESET = (
    "zpool destroy -f {pool} 2>/dev/null; "
    "zpool labelclear -f /dev/disk/by-id/virtio-{pool}-part1 2>/dev/null; " + _CREATE
)


def ensure_hosts(names: list[str] | None = None) -> tuple[list[LabHost], list[str]]:
    """All wanted hosts run and have their pools; answers them, and which had to be started."""
    wanted = names or identity.host_names()
    with cache.locked("hosts"):
        known = identity.identities(wanted)
        config = identity.write_ssh_files(known)
        chosen = [host for host in known if host.name in wanted]
        machines = [Machine(host) for host in chosen]
        hosts = [_host(machine, config) for machine in machines]
        started = _boot(machines, known)
        progress.side_by_side(*(host.make_pools for host in hosts))
    return hosts, started


def stop_hosts(names: list[str] | None = None) -> list[str]:
    """Stop the named hosts (all by default) and forget their disks; answers which ran."""
    with cache.locked("hosts"):
        stopped = []
        for folder in sorted((cache.run_folder() / "hosts").glob("*")):
            if names is not None and folder.name not in names:
                continue
            machine = Machine(identity.Identity(folder.name, 0, folder))
            if machine.process.stop(
                0.5
            ):  # the disks go as well, so there is nothing to shut down for
                stopped.append(folder.name)
            machine.wipe()
    return stopped


def _host(machine: Machine, config: Path) -> LabHost:
    known = machine.identity
    key = identity.key_path()
    return LabHost(
        known.name, "127.0.0.1", known.port, (known.host_key,), key, config, POOLS, machine
    )


def _boot(machines: list[Machine], known: list[identity.Identity]) -> list[str]:
    """Start what does not run and wait until each answers; answers which were started."""
    config = identity.write_ssh_files(known)
    started = [machine.identity.name for machine in machines if machine.start(known)]
    if started:
        progress.say(f"hosts: {', '.join(started)} boot")
    with ThreadPoolExecutor(len(machines)) as threads:
        waits = [
            threads.submit(_await_ssh, _host(machine, config), machine.identity.name in started)
            for machine in machines
        ]
    for wait in waits:
        wait.result()
    return started


def _await_ssh(host: LabHost, boots: bool) -> None:
    """The host answers; says every 10 s that it is still awaited.

    While it boots a connection hangs instead of being refused, so the first ones are short; a host
    that takes long is under load, and then a short one would never do.
    """
    process = host.machine.process
    began = spoke = time.monotonic()
    while not host.is_up(3 if boots and time.monotonic() - began < _USUAL_BOOT_S else 30):
        if process.pid() is None:
            raise RuntimeError(f"{host.name} ended while booting:\n{process.tail()}")
        now = time.monotonic()
        if now - began > BOOT_S:
            raise RuntimeError(f"{host.name}: no ssh after {BOOT_S:.0f} s:\n{process.tail()}")
        if now - spoke > _SPEAK_S:
            spoke = now
            progress.say(f"hosts: waiting for {host.name} ({now - began:.0f} s)")
        time.sleep(_POLL_S)
    progress.say(f"hosts: {host.name} answers after {time.monotonic() - began:.0f} s")


def _sockets() -> Path:
    """A folder with a short name, because a socket's path has at most 107 characters."""
    name = hashlib.sha256(str(cache.run_folder()).encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"backstay-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
