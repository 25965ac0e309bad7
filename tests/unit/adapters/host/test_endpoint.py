"""The ssh command line: pinned keys, one quoting, and a key that nobody else can read."""

from __future__ import annotations

import dataclasses
import shlex
import stat
import sys
from pathlib import Path

import pytest

from backstay.adapters.host.endpoint import SshLauncher, quote
from fakes.peers import endpoint

HOST_KEYS = ("ssh-ed25519 AAAAed", "ssh-rsa AAAArsa", "ecdsa-sha2-nistp256 AAAAec")


def options(argv: list[str]) -> dict[str, str]:
    """The `-o` options of a command line."""
    pairs = [argv[i + 1] for i, word in enumerate(argv) if word == "-o"]
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BatchMode", "yes"),
        ("StrictHostKeyChecking", "yes"),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("UpdateHostKeys", "no"),
        ("IdentitiesOnly", "yes"),
        ("PasswordAuthentication", "no"),
        ("ConnectTimeout", "10"),
        ("ServerAliveInterval", "5"),
        ("ServerAliveCountMax", "3"),
        ("ControlMaster", "no"),
        ("LogLevel", "INFO"),
    ],
)
def test_nothing_of_the_account_decides_how_ssh_works(name: str, value: str) -> None:
    argv = SshLauncher(endpoint()).argv(["true"])
    assert argv[:3] == ["ssh", "-F", "none"]
    assert options(argv)[name] == value


@pytest.mark.fault("changed host key")
@pytest.mark.parametrize(("port", "known"), [(22, "192.0.2.1"), (2222, "[192.0.2.1]:2222")])
def test_only_the_pinned_keys_are_known(port: int, known: str) -> None:
    launcher = SshLauncher(dataclasses.replace(endpoint(), port=port, host_keys=HOST_KEYS))
    told = options(launcher.argv(["true"]))
    lines = Path(told["UserKnownHostsFile"]).read_text().splitlines()
    assert lines == [f"{known} {key}" for key in HOST_KEYS]
    assert told["HostKeyAlgorithms"].split(",") == [
        "ssh-ed25519",
        "rsa-sha2-512",
        "rsa-sha2-256",
        "ecdsa-sha2-nistp256",
    ]


def test_streams_go_over_the_trunk_and_an_installed_program_has_none() -> None:
    launcher = SshLauncher(endpoint())
    trunk = launcher.trunk_argv(["cat"])
    assert trunk is not None
    assert options(trunk)["ControlMaster"] == "yes"
    stream = options(launcher.stream_argv(["true"]))
    assert (stream["ControlMaster"], stream["ControlPath"]) == ("no", options(trunk)["ControlPath"])
    assert options(launcher.argv(["true"]))["ControlPath"] == "none"
    assert SshLauncher(dataclasses.replace(endpoint(), installed=True)).trunk_argv(["cat"]) is None


def test_the_key_is_on_no_disk_and_gone_at_the_end() -> None:
    launcher = SshLauncher(endpoint())
    told = options(launcher.argv(["true"]))
    key, folder = Path(told["IdentityFile"]), Path(told["UserKnownHostsFile"]).parent
    assert key.read_bytes() == b"top secret\n"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.readlink().parts[1].startswith("memfd:")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not any(b"secret" in file.read_bytes() for file in folder.iterdir())
    launcher.close()
    assert not folder.exists()
    assert not key.exists() or b"secret" not in key.read_bytes()


def test_without_files_in_memory_the_key_lies_in_a_private_folder_until_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    launcher = SshLauncher(endpoint())
    key = Path(options(launcher.argv(["true"]))["IdentityFile"])
    assert key.read_bytes() == b"top secret\n"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    launcher.close()
    assert not key.parent.exists()


def test_the_key_is_in_no_text_about_the_endpoint() -> None:
    launcher = SshLauncher(endpoint())
    assert "secret" not in repr(endpoint())
    assert "secret" not in " ".join(launcher.argv(["true"]))


@pytest.mark.parametrize(
    "command",
    [
        ["zfs", "list", "tank/a b"],
        ["echo", "$(reboot)", "`reboot`", "; reboot", "'", '"', "\\", "*", ""],
        ["python3", "-c", "print('a')\nprint(\"b\")\n"],
    ],
)
def test_a_command_reaches_the_host_word_by_word(command: list[str]) -> None:
    argv = SshLauncher(endpoint()).argv(command)
    assert argv[-3:-1] == ["--", "192.0.2.1"]
    assert argv[-1] == quote(command)
    assert shlex.split(argv[-1]) == command
