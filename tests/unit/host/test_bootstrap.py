"""The program is fed through stdin, kept in a private folder, and says what is wrong."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.app.hostzip import executable_host_program, pack_host_program
from backstay_host import bootstrap
from backstay_host.protocol import HELLO_MARK, Hello
from unit.host.client import Client

TEXT = Path(bootstrap.__file__).read_text(encoding="utf-8")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="boot-") as made:
        yield Path(made) / "backstay"


def _text(folder: Path, *, oldest: str = "(3, 11)") -> str:
    """The text as it is sent, keeping its files in a folder of the test."""
    assert "/run/backstay" in TEXT
    assert "OLDEST_PYTHON = (3, 11)" in TEXT
    changed = TEXT.replace('return "/run/backstay"', f"return {str(folder)!r}")
    return changed.replace("OLDEST_PYTHON = (3, 11)", f"OLDEST_PYTHON = {oldest}")


def _program(folder: Path) -> bytes:
    """The program, keeping its files in a folder of the test, too."""
    changed = io.BytesIO()
    packed = zipfile.ZipFile(io.BytesIO(pack_host_program()))
    with packed, zipfile.ZipFile(changed, "w") as archive:
        for name in packed.namelist():
            own = name == "backstay_host/bootstrap.py"
            archive.writestr(name, _text(folder) if own else packed.read(name))
    return changed.getvalue()


def _say(text: str, fed: bytes) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", text], input=fed, capture_output=True, timeout=30, check=False
    )
    line, _, rest = done.stdout.decode().partition("\n")
    assert line.startswith(HELLO_MARK)
    assert rest == ""
    said: dict[str, dict[str, str]] = json.loads(line[len(HELLO_MARK) :])
    return said


def test_the_fed_program_serves_and_leaves_nothing_behind(folder: Path) -> None:
    program = _program(folder)
    fed = b"%d\n" % len(program) + program
    client = Client([sys.executable, "-I", "-c", _text(folder)], fed)
    kept = folder / f"{client.greeting['nonce']}.zip"
    assert client.greeting["program"] == [sys.executable, "-I", "-S", str(kept)]
    assert (folder.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o700, 0o600)
    # Where the tests run there may be no ZFS; then that is what the program must say.
    answer = client.post("hello", Hello()).get(timeout=30)
    assert answer.get("error", {}).get("reason", "NoZfs") == "NoZfs"
    stream = subprocess.run(
        [*client.greeting["program"], "stream", f"{client.greeting['nonce']}.no"],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (stream.returncode, stream.stdout) == (3, b"")
    assert b"NoSuchTicket" in stream.stderr
    assert client.close() == 0
    assert not kept.exists()


def test_a_second_session_takes_the_program_that_the_first_one_compiled(folder: Path) -> None:
    fed = _program(folder)
    for _ in range(2):
        client = Client([sys.executable, "-I", "-c", _text(folder)], b"%d\n" % len(fed) + fed)
        (kept,) = folder.glob("program-*")
        assert kept.samefile(folder / f"{client.greeting['nonce']}.zip")
        made = kept.stat().st_ino
        assert client.close() == 0
    assert kept.stat().st_ino == made
    assert list(folder.glob("*.zip")) == []


def test_an_installed_program_serves_and_stays(folder: Path) -> None:
    installed = folder.parent / "backstay-host"
    installed.write_bytes(f"#!{sys.executable} -I\n".encode() + _program(folder))
    installed.chmod(0o755)
    nonces = set()
    for _ in range(2):
        client = Client([str(installed), "serve"])
        nonces.add(client.greeting["nonce"])
        assert client.greeting["program"] == [sys.executable, "-I", "-S", str(installed)]
        assert (folder / f"{client.greeting['nonce']}.sock").exists()
        assert client.close() == 0
    assert len(nonces) == 2
    assert installed.exists()
    assert list(folder.glob("*.sock")) == []


@pytest.mark.fault("no Python")
def test_a_python_that_is_too_old_is_named(folder: Path) -> None:
    said = _say(_text(folder, oldest="(99, 0)"), b"")
    assert said["error"]["reason"] == "NoPython"
    assert sys.version.split()[0] in said["error"]["message"]
    assert not folder.exists()


def test_the_text_is_readable_for_pythons_that_are_too_old() -> None:
    assert ast.parse(TEXT, feature_version=(3, 7)).body


def test_a_folder_that_others_can_enter_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    program = pack_host_program()
    said = _say(_text(folder), b"%d\n" % len(program) + program)
    assert said["error"]["reason"] == "NoRights"
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_a_link_is_refused(folder: Path) -> None:
    folder.symlink_to("/tmp")
    program = pack_host_program()
    said = _say(_text(folder), b"%d\n" % len(program) + program)
    assert said["error"]["reason"] == "NoRights"


def _install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`install` as a person runs it, from the file that `host-program` wrote."""
    given = folder.parent / "backstay-host.pyz"
    given.write_bytes(executable_host_program())
    argv = [sys.executable, "-I", str(given), "install", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_what_install_writes_is_compiled_and_serves(folder: Path) -> None:
    place = folder.parent / "backstay-host"
    done = _install(folder, str(place))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{place} is installed" in done.stdout
    assert (place.stat().st_mode & 0o777, list(folder.parent.glob("*.new"))) == (0o755, [])
    client = Client([str(place), "serve"])
    assert client.greeting["program"] == [sys.executable, "-I", "-S", str(place)]
    assert client.close() == 0
    code = f"import sys; sys.path.insert(0, {str(place)!r}); from backstay_host import serve as s"
    argv = [sys.executable, "-I", "-c", f"{code}; print(s.__spec__.origin)"]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{place}/backstay_host/serve.pyc"


def test_an_installed_program_outlives_the_python_that_compiled_it(folder: Path) -> None:
    place = folder.parent / "backstay-host"
    assert _install(folder, str(place)).returncode == 0
    foreign = place.read_bytes().replace(importlib.util.MAGIC_NUMBER, b"\0\0\r\n")
    place.write_bytes(foreign)
    client = Client([sys.executable, "-I", "-S", str(place), "serve"])
    assert client.greeting["program"][-1] == str(place)
    assert client.close() == 0


def test_installing_the_installed_program_again_compiles_it_anew(folder: Path) -> None:
    place = folder.parent / "backstay-host"
    assert _install(folder, str(place)).returncode == 0
    first = zipfile.ZipFile(place)
    argv = [sys.executable, "-I", str(place), "install", str(place)]
    subprocess.run(argv, capture_output=True, timeout=60, check=True)
    again = zipfile.ZipFile(place)
    assert again.namelist() == first.namelist()
    assert all(again.read(name) == first.read(name) for name in again.namelist())


def test_what_cannot_be_installed_says_why_and_changes_nothing(folder: Path) -> None:
    place = folder.parent / "no-such-folder" / "backstay-host"
    done = _install(folder, str(place))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot write {place}" in done.stderr
    assert "run it as root" in done.stderr
    assert _install(folder, "a", "b").returncode == 1
    unpacked = [sys.executable, "-m", "backstay_host", "install", str(folder.parent / "x")]
    done = subprocess.run(unpacked, capture_output=True, text=True, timeout=60, check=False)
    assert "this is not the file of `host-program`" in done.stderr
    assert not (folder.parent / "x").exists()
