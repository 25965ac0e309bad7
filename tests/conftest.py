"""Fixtures that find the worlds: real ZFS hosts and a real Kubernetes API.

A world that a collected test asks for is started before the first test, outside its deadline,
unless it runs already; what was started here is stopped at the end. A world that cannot be had is
an error of every test that asks for it, never a skip.
"""

import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from worlds import api, binaries, image

_FAILURES = (RuntimeError, SystemExit, OSError, subprocess.SubprocessError)


@dataclass(slots=True)
class Worlds:
    """What the session got, what it could not get and why, and what it has to stop."""

    hosts: list[api.LabHost] = field(default_factory=list)
    plane: api.ControlPlane | None = None
    failures: dict[str, str] = field(default_factory=dict)
    started_hosts: list[str] = field(default_factory=list)
    started_plane: bool = False

    def start_hosts(self) -> None:
        image.image_folder()
        self.hosts, self.started_hosts = api.ensure_hosts()

    def start_controlplane(self) -> None:
        self.plane, self.started_plane = api.ensure_controlplane()

    def build_controlplane(self) -> None:
        for name in ("etcd", "kube-apiserver", "kubectl"):
            binaries.binary(name)

    def stop(self) -> None:
        if self.started_hosts:
            api.stop_hosts(self.started_hosts)
        if self.started_plane:
            api.stop_controlplane()


_WORLDS = pytest.StashKey[Worlds]()


def _start(worlds: Worlds, wanted: set[str]) -> None:
    steps: dict[str, Callable[[], None]] = {
        "lab_hosts": worlds.start_hosts,
        "controlplane": worlds.start_controlplane,
        "private_controlplane": worlds.build_controlplane,
    }
    for name, step in steps.items():
        if name in wanted:
            try:
                step()
            except _FAILURES as failure:
                worlds.failures[name] = str(failure)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start what the collected tests ask for, with its progress in sight."""
    worlds = session.config.stash.setdefault(_WORLDS, Worlds())
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        _start(worlds, wanted)
        return
    with capture.global_and_fixture_disabled():
        _start(worlds, wanted)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop what this session started."""
    session.config.stash.setdefault(_WORLDS, Worlds()).stop()


def _world(request: pytest.FixtureRequest, name: str) -> Worlds:
    worlds = request.config.stash[_WORLDS]
    if name in worlds.failures:
        raise RuntimeError(f"no {name}: {worlds.failures[name]}")
    return worlds


@pytest.fixture(scope="session")
def lab_hosts(request: pytest.FixtureRequest) -> list[api.LabHost]:
    """The running ZFS hosts: zfs-a, zfs-b (and more with LAB_HOSTS)."""
    return _world(request, "lab_hosts").hosts


@pytest.fixture(scope="session")
def controlplane(request: pytest.FixtureRequest) -> api.ControlPlane:
    """The shared control plane with our kinds and the chart's rights; use your own namespace."""
    plane = _world(request, "controlplane").plane
    assert plane is not None
    return plane


@pytest.fixture
def private_controlplane(request: pytest.FixtureRequest) -> Iterator[api.ControlPlane]:
    """A control plane of the test's own: to kill, to compact, to empty."""
    _world(request, "private_controlplane")
    with api.private_controlplane() as plane:
        yield plane


@pytest.fixture
def host_ssh(lab_hosts: list[api.LabHost]) -> Callable[[api.LabHost, str], str]:
    """`host_ssh(host, command)` is what the command prints; a failure is a RuntimeError."""
    assert lab_hosts
    return lambda host, command: host.run(command)


@dataclass(slots=True)
class DatasetRoots:
    """`roots(host, "tank")` is a new file system that only this test knows, gone after it."""

    suffix: str
    made: dict[str, tuple[api.LabHost, list[str]]] = field(default_factory=dict)

    def __call__(self, host: api.LabHost, pool: str = "tank") -> str:
        root = f"{pool}/t{self.suffix}"
        _, names = self.made.setdefault(host.name, (host, []))
        if root not in names:
            host.run(f"zfs create {root}")
            names.append(root)
        return root

    def destroy(self) -> None:
        """Best effort: what a killed process still holds is left, and nobody else looks at it."""
        for host, names in self.made.values():
            host.attempt("; ".join(f"zfs destroy -R -f {name}" for name in names))


@pytest.fixture
def lab_dataset_roots(lab_hosts: list[api.LabHost]) -> Iterator[DatasetRoots]:
    """Makes dataset roots of the test's own on any host and pool."""
    assert lab_hosts
    roots = DatasetRoots(secrets.token_hex(4))
    yield roots
    roots.destroy()
