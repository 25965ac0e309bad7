"""What the worlds are made of: processes that are found again, builds that are whole or absent."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from worlds import cache, identity
from worlds.processes import Process, free_port, wait_until

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n"
    "while True: signal.pause()",
]


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKSTAY_CACHE", str(tmp_path))
    return tmp_path


def test_a_process_is_found_by_its_file_and_started_once(tmp_path: Path) -> None:
    process = Process("sleeper", tmp_path)
    first = process.start(SLEEPER)
    assert process.start(SLEEPER) == first == int(process.pid_file.read_text())
    assert process.stop()
    assert process.pid() is None
    assert not process.pid_file.exists()


def test_a_stranger_with_a_recycled_id_is_neither_found_nor_signalled(tmp_path: Path) -> None:
    process = Process("operator", tmp_path)
    process.pid_file.write_text(f"{os.getpid()}\n")
    assert process.pid() is None
    process.signal(signal.SIGKILL)
    assert not process.stop()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = Process("deaf", tmp_path)
    process.start(STUBBORN)
    assert wait_until(lambda: process.log.exists() and "deaf" in process.log.read_text(), 20)
    assert process.stop(grace_s=0.2)
    assert process.pid() is None


def test_a_failed_build_leaves_nothing_and_the_next_one_succeeds(cache_folder: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError, match="no network"):
        cache.built("thing", fails)
    made = cache.built("thing", lambda folder: (folder / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert made.is_relative_to(cache_folder)


def test_a_digest_changes_with_content_and_words_only(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    recipe.write_text("one")
    before = cache.digest_of([recipe], "-trimpath")
    recipe.touch()
    assert cache.digest_of([recipe], "-trimpath") == before
    assert cache.digest_of([recipe], "-race") != before
    recipe.write_text("two")
    assert cache.digest_of([recipe], "-trimpath") != before


def test_a_listening_port_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert free_port(port) != port


@pytest.mark.usefixtures("cache_folder")
def test_hosts_have_different_ports_where_preferred_ones_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(identity, "FIRST_PORT", server.getsockname()[1] - 1)
        ports = [host.port for host in identity.identities(["zfs-a"])]
        assert len(set(ports)) == len(ports) == 3
        assert server.getsockname()[1] not in ports


@pytest.mark.usefixtures("cache_folder")
def test_host_keys_and_ports_stay_the_same_from_start_to_start() -> None:
    first = identity.identities(["zfs-a"])
    again = identity.identities(["zfs-a"])
    assert [(host.name, host.port, host.host_key) for host in first] == [
        (host.name, host.port, host.host_key) for host in again
    ]
    assert {host.name for host in first} == {"zfs-a", "zfs-b", "zfs-c"}
    assert all(host.host_key.startswith("ssh-ed25519 AAAA") for host in first)
    config = identity.write_ssh_files(first).read_text()
    assert "StrictHostKeyChecking yes" in config
