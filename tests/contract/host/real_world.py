"""The contract's world on real hosts: the real program, real pools, ssh that breaks at will."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.dryrun import DryRunHost
from backstay.adapters.host.endpoint import Launcher, SshLauncher
from backstay.adapters.host.hosts import Leader, OpenSshHost, OpenSshHosts, Setup
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.domain.steps import Pipe, PipeOutcome
from backstay.domain.zfs import Guid
from backstay.ports.host import Endpoint, HostPort, Progress
from contract.host.worlds import SHORT_ID, Hands
from worlds.hosts import LabHost

_BLOCK = 16 * 1024
_PASSPHRASE = "correct-horse"


class RealHands:
    """Hands at a lab host."""

    def __init__(self, host: LabHost, root: str) -> None:
        self.host = host
        self.root = root
        self._written: dict[str, int] = {}

    async def _run(self, command: str) -> str:
        return await asyncio.to_thread(self.host.run, command)

    async def create(self, name: str, *, volume: bool = False, encrypted: bool = False) -> None:
        """See `Hands`."""
        size = f"-s -b {_BLOCK} -V 64M" if volume else ""
        key = "-o encryption=on -o keyformat=passphrase -o pbkdf2iters=100000" if encrypted else ""
        said = f"echo {_PASSPHRASE} | " if encrypted else ""
        await self._run(f"{said}zfs create {key} {size} {name}")

    async def load_key(self, name: str) -> None:
        """See `Hands`."""
        await self._run(f"echo {_PASSPHRASE} | zfs load-key {name}")

    async def ivset(self, point: str) -> int:
        """See `Hands`."""
        return int(await self._run(f"zfs get -Hpo value ivsetguid {shlex.quote(point)}"))

    async def write(self, name: str, size: int) -> None:
        """See `Hands`."""
        offset = self._written.get(name, 0)
        self._written[name] = offset + size // _BLOCK
        dd = f"dd if=/dev/urandom bs={_BLOCK} count={size // _BLOCK} conv=fsync,notrunc status=none"
        await self._run(
            f"if [ $(zfs get -Ho value type {name}) = volume ]; then "
            # The device is made by a thread of ZFS, after the command that made the volume.
            f"for n in $(seq 300); do [ -b /dev/zvol/{name} ] && break; sleep 0.1; done; "
            "udevadm settle; "
            f"{dd} seek={offset} of=/dev/zvol/{name}; else "
            f"[ $(zfs get -Ho value mounted {name}) = yes ] || zfs mount {name}; "
            f"{dd} of=$(zfs get -Ho value mountpoint {name})/file{offset}; fi"
        )

    async def snapshot(self, *names: str) -> None:
        """See `Hands`."""
        await self._run(f"zfs snapshot {shlex.join(names)}")

    async def destroy(self, name: str) -> None:
        """See `Hands`."""
        flag = "" if "@" in name or "#" in name else "-r"
        await self._run(f"udevadm settle; zfs destroy {flag} {shlex.quote(name)}")

    async def rename(self, name: str, to: str) -> None:
        """See `Hands`."""
        await self._run(f"udevadm settle; zfs rename {shlex.join([name, to])}")

    async def clone(self, snapshot: str, name: str) -> None:
        """See `Hands`."""
        await self._run(f"zfs clone {shlex.join([snapshot, name])}")

    async def set(self, name: str, key: str, value: str) -> None:
        """See `Hands`."""
        await self._run(f"zfs set {shlex.quote(f'{key}={value}')} {name}")

    async def hold(self, snapshot: str) -> None:
        """See `Hands`."""
        await self._run(f"zfs hold keep {snapshot}")

    async def release(self, snapshot: str) -> None:
        """See `Hands`."""
        await self._run(f"zfs release keep {snapshot}")

    async def exists(self, name: str) -> bool:
        """See `Hands`."""
        found = await asyncio.to_thread(
            self.host.attempt, f"zfs list -t all -Ho name {shlex.quote(name)}"
        )
        assert not found.returncode or "does not exist" in found.stderr, found.stderr
        return found.returncode == 0

    async def guid(self, name: str) -> Guid:
        """See `Hands`."""
        return Guid(int(await self._run(f"zfs get -Hpo value guid {shlex.quote(name)}")))

    async def local(self, name: str, key: str) -> str | None:
        """See `Hands`."""
        said = await self._run(f"zfs get -Hpo source,value {key} {name}")
        source, value = said.rstrip("\n").split("\t")
        return value if source == "local" else None


@dataclass(slots=True)
class Breaker:
    """What happens to the next stream: a shell command that its bytes go through."""

    through: str | None = None

    def take(self) -> str | None:
        """The command, once."""
        through, self.through = self.through, None
        return through


class BreakingLauncher(SshLauncher):
    """ssh whose streams may break after some bytes."""

    def __init__(self, endpoint: Endpoint, breaker: Breaker) -> None:
        super().__init__(endpoint)
        self._breaker = breaker

    def stream_argv(self, command: Sequence[str]) -> list[str]:
        """See `Launcher`."""
        argv = super().stream_argv(command)
        through = self._breaker.take()
        return argv if through is None else ["bash", "-c", f"{shlex.join(argv)} | {through}"]


class _ListeningTransfers:
    """`OpenSshTransfers` that tells when the target has received something."""

    def __init__(self) -> None:
        self.inner = OpenSshTransfers(SystemClock())
        self.reached: asyncio.Event | None = None

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """See `TransferPort`."""

        def heard(index: int, moved: int) -> None:
            progress(index, moved)
            if self.reached is not None and moved >= 256 * 1024:
                self.reached.set()

        return await self.inner.transfer(source, target, pipe, heard)


class RealConnections:
    """All connections of a session of tests; the usual leader's stay open between tests."""

    def __init__(
        self, lab_hosts: Sequence[LabHost], program: bytes, installation: str, data_key: bytes
    ) -> None:
        self.lab_hosts = lab_hosts
        self.data_key = data_key
        self.breaker = Breaker()
        self._program = program
        self._installation = installation
        self._open: dict[tuple[str, int, str], OpenSshHosts] = {}
        self.used_at = time.monotonic()
        """When the last test with them ended; nobody answers the hosts between tests."""

    def port(
        self,
        host: LabHost,
        *,
        term: int = 1,
        installation: str | None = None,
        process: str = "one",
    ) -> OpenSshHost:
        """A leader's port to a lab host."""
        key = (installation or self._installation, term, process)
        hosts = self._open.get(key)
        if hosts is None:
            hosts = self._open[key] = OpenSshHosts(self._setup(*key))
        return hosts.open(self.endpoint(host))

    def endpoint(self, host: LabHost) -> Endpoint:
        """How to log in to a lab host, and how other hosts bring their streams."""
        return replace(
            endpoint(host),
            data_address=host.address_from_hosts,
            data_port=host.port,
            data_key=self.data_key,
        )

    def _setup(self, installation: str, term: int, process: str) -> Setup:
        return Setup(
            program=self._program,
            leader=Leader(
                installation_id=installation,
                short_id=SHORT_ID,
                process_id=process,
                term=lambda: term,
                remaining_s=lambda: 25.0,
            ),
            clock=SystemClock(),
            launcher=self._launcher,
        )

    def _launcher(self, wanted: Endpoint) -> Launcher:
        if wanted.name.endswith(self.lab_hosts[0].name):
            return BreakingLauncher(wanted, self.breaker)
        return SshLauncher(wanted)

    async def close_all_but_usual(self) -> None:
        """Leaders that one test has made are gone."""
        for key in [k for k in self._open if k[:2] != (self._installation, 1)]:
            await self._open.pop(key).close()

    async def close(self) -> None:
        """All are gone."""
        for hosts in self._open.values():
            await hosts.close()


def endpoint(host: LabHost, *, user: str = "root") -> Endpoint:
    """How to log in to a lab host."""
    return Endpoint(
        name=f"lab/{host.name}",
        address=host.address,
        port=host.port,
        user=user,
        host_keys=tuple(host.host_keys),
        private_key=host.key_path.read_bytes(),
    )


class RealContractWorld:
    """Two lab hosts and dataset roots of one test's own."""

    def __init__(
        self, connections: RealConnections, source: RealHands, target: RealHands, suffix: str
    ) -> None:
        self.source = source
        self.target = target
        self.transfers = _ListeningTransfers()
        self._connections = connections
        self.own = f"contract/own-{suffix}"

    def port(
        self,
        hands: Hands,
        *,
        term: int = 1,
        installation: str | None = None,
        process: str = "one",
    ) -> OpenSshHost:
        """See `ContractWorld`."""
        assert isinstance(hands, RealHands)
        return self._connections.port(
            hands.host, term=term, installation=installation, process=process
        )

    def dry(self, hands: Hands) -> DryRunHost:
        """See `ContractWorld`."""
        return DryRunHost(self.port(hands))

    def unreachable(self) -> OpenSshHost:
        """See `ContractWorld`."""
        host = self._connections.lab_hosts[0]
        nowhere = Endpoint(
            name="lab/zfs-x",
            address="127.0.0.1",
            port=1,
            user="root",
            host_keys=tuple(host.host_keys),
            private_key=host.key_path.read_bytes(),
        )
        return OpenSshHosts(self._connections._setup("contract/nobody", 1, "one")).open(nowhere)

    async def copy_by_hand(self, snapshot: str, base: str, name: str, *, mode: str) -> None:
        """See `ContractWorld`."""
        origin, target = self.source.host, self.target.host
        sent = f"set -o pipefail; zfs send -{mode} -i {base} {snapshot} | base64"
        text = await asyncio.to_thread(origin.run, f"bash -c {shlex.quote(sent)}")
        received = f"base64 -d | zfs receive -u {name}"
        await asyncio.to_thread(target.run, received, given=text)

    def cut_next(self, after_bytes: int) -> None:
        """See `ContractWorld`."""
        self._connections.breaker.through = f"head -c {after_bytes}"

    @asynccontextmanager
    async def hang_next(self, after_bytes: int) -> AsyncIterator[asyncio.Event]:
        """See `ContractWorld`."""
        self._connections.breaker.through = f"(head -c {after_bytes}; exec sleep 600)"
        self.transfers.reached = asyncio.Event()
        yield self.transfers.reached
        self.transfers.reached = None
