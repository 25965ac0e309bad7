"""A stand-in for `ssh` in front of a host with a gate: files as OpenSSH reads them, and its words.

Run as a program named `ssh`. The target's host key is in `host_key` of the folder above, the data
key that it admits in `data_key`, and the forced command of that key in `forced`. What runs behind
it is, as with sshd, in another session than this program, and sees the end of the line only.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

HOME = Path(sys.argv[0]).resolve().parent.parent


def fail(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(255)


def options(words: list[str]) -> dict[str, str]:
    return dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "-o")


def check(said: dict[str, str]) -> None:
    key = Path(said["IdentityFile"])
    if said["StrictHostKeyChecking"] != "yes" or said["GlobalKnownHostsFile"] != "/dev/null":
        fail("this test wants pinned host keys")
    known = Path(said["UserKnownHostsFile"]).read_text().splitlines()
    pinned = [line.split(" ", 1)[1] for line in known if line.split()[0] == said["HostKeyAlias"]]
    if (HOME / "host_key").read_text() not in pinned:
        fail("Host key verification failed.")
    if stat.S_IMODE(key.stat().st_mode) & 0o077:
        fail(f"Load key {key}: bad permissions")
    if key.read_bytes() != (HOME / "data_key").read_bytes():
        fail("root@192.0.2.2: Permission denied (publickey).")


def main() -> int:
    words = sys.argv[1:]
    with (HOME / "ssh.log").open("a") as log:
        call = {"argv": words, "env": dict(os.environ), "pid": os.getpid()}
        log.write(json.dumps({**call, "group": os.getpgid(0), "parent": os.getppid()}) + "\n")
    check(options(words))
    there = json.loads((HOME / "forced").read_text())
    env = {**os.environ, **there["env"], "SSH_ORIGINAL_COMMAND": words[-1]}
    remote = subprocess.Popen(
        there["argv"], stdin=subprocess.PIPE, env=env, start_new_session=True, bufsize=0
    )
    assert remote.stdin is not None
    try:
        while data := os.read(0, 65536):
            view = memoryview(data)
            while view:
                view = view[remote.stdin.write(view) or 0 :]
        remote.stdin.close()
    except BrokenPipeError:
        pass
    return remote.wait()


if __name__ == "__main__":
    os._exit(main())
