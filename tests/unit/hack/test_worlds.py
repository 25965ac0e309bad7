"""What the worlds are made of: processes that are found again, builds that are whole or absent."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from worlds import cache, emulator, identity, image, packages
from worlds.machine import Machine
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


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("bookworm", ("bookworm", "bookworm", "bookworm")),
        ("bookworm,trixie", ("bookworm", "trixie", "trixie")),
    ],
)
def test_lab_debian_names_one_release_for_all_or_one_each(
    monkeypatch: pytest.MonkeyPatch, wanted: str, found: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LAB_DEBIAN", wanted)
    assert tuple(image.debian_of(name) for name in ("zfs-a", "zfs-b", "zfs-c")) == found


def test_an_unknown_debian_is_named_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_DEBIAN", "trixie,potato")
    with pytest.raises(SystemExit, match="LAB_DEBIAN=potato: there are trixie, bookworm"):
        image.debian_of("zfs-a")


@pytest.mark.parametrize(
    ("said", "release"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", 7),
        ("QEMU emulator version 10.0.2", 10),
        ("", 0),
    ],
)
def test_the_release_of_an_emulator_is_read(said: str, release: int) -> None:
    assert emulator.release_of(said) == release


def test_the_archive_is_that_of_the_machine_s_own_debian() -> None:
    lines = (
        "http://mirror.example/debian-security/ bookworm-security",
        "http://mirror.example/debian/ bookworm-updates",
        "http://mirror.example/debian/ bookworm",
    )
    found = packages.archive_of("\n".join(lines))
    assert found == ("http://mirror.example/debian/", "bookworm")
    assert packages.archive_of("http://archive.example/ubuntu/ noble") is None
    assert packages.archive_of("") is None


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (FileNotFoundError(2, "No such file", "apt-get"), "apt-get"),
        (
            subprocess.CalledProcessError(100, ["apt-get"], b"", b"a\nE: no archive\n"),
            "E: no archive",
        ),
    ],
)
def test_without_a_newer_emulator_this_machine_s_is_used_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: Exception,
    said: str,
) -> None:
    def fails(_name: str, _build: object) -> Path:
        raise failure

    monkeypatch.setattr(emulator, "said", lambda *_: "version 7.2.22")
    monkeypatch.setattr(packages, "archive", lambda: ("http://mirror.example/debian", "bookworm"))
    monkeypatch.setattr(cache, "built", fails)
    assert emulator.emulator.__wrapped__() == (emulator.PROGRAM,)
    told = capsys.readouterr().err
    assert said in told
    assert "bookworm-backports" in told


def test_a_host_that_runs_from_another_image_is_named(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache_folder / "hosts" / "zfs-a"
    folder.mkdir(parents=True)
    (folder / "root.from").write_text("image-old")
    host = Machine(identity.Identity("zfs-a", 1, folder))
    host.process.start(SLEEPER)
    monkeypatch.setattr(image, "image_folder", lambda _host: Path("image-new"))
    try:
        with pytest.raises(SystemExit, match="zfs-a runs, but not from the image of Debian trixie"):
            host.start([])
        (folder / "root.from").write_text("image-new")
        assert not host.start([])
    finally:
        host.process.stop()
