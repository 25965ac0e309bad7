"""One emulated machine: its disks, its QEMU process, its boot."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from worlds import cache, emulator, image, progress
from worlds.identity import Identity, write_seed
from worlds.processes import Process, weigh_session

POOLS = ("tank", "backup")
POOL_SIZE = int(os.environ.get("LAB_POOL_GIB", "16")) << 30
MEMORY_MIB = int(os.environ.get("LAB_MEMORY_MIB", "3072"))
KERNEL_ARGUMENTS = (
    *("root=/dev/vda", "rw", "console=ttyS0", "quiet", "panic=5"),
    # Work that an emulated CPU is slow at and that no test looks for.
    *("mitigations=off", "audit=0", "cryptomgr.notests"),
    "modprobe.blacklist=kvm,kvm_amd,vsock,vmw_vsock_virtio_transport_common,sg,efi_pstore",
)
PREFERENCE = -5
"""Tests beside it must not starve an emulated CPU; without the right it runs as usual."""
_KVM_PROBE_S = 20


@dataclass(frozen=True, slots=True)
class Machine:
    """A host's disks lie in its folder until `wipe`; a machine that died boots with them again."""

    identity: Identity

    @property
    def process(self) -> Process:
        return Process(self.identity.name, cache.run_folder())

    def start(self, known: list[Identity]) -> bool:
        """Boot unless it runs; answers whether it was started."""
        built = image.image_folder(self.identity.name)
        if self.process.pid() is not None:
            self._check_runs(built)
            return False
        self._make_disks(built)
        write_seed(self.identity, known)
        self.process.log.unlink(missing_ok=True)
        weigh_session(self.process.start(self._argv(built)), PREFERENCE)
        return True

    def wipe(self) -> None:
        """Forget the disks; the next start is a new machine with the same name and keys."""
        for disk in self.identity.folder.glob("*.img"):
            disk.unlink()

    def _check_runs(self, built: Path) -> None:
        if (self.identity.folder / "root.from").read_text(encoding="utf-8") != built.name:
            wanted = image.debian_of(self.identity.name)
            raise SystemExit(
                f"{self.identity.name} runs, but not from the image of Debian {wanted} that is"
                " wanted now: `make down` first (LAB_DEBIAN chooses the release)"
            )

    def _make_disks(self, built: Path) -> None:
        folder = self.identity.folder
        root = folder / "root.img"
        mark = folder / "root.from"
        if not root.exists() or mark.read_text(encoding="utf-8") != built.name:
            self.wipe()
            subprocess.run(
                ["cp", "--sparse=always", "--reflink=auto", str(built / "root.img"), str(root)],
                check=True,
            )
            mark.write_text(built.name, encoding="utf-8")
        for pool in POOLS:
            disk = folder / f"{pool}.img"
            if not disk.exists():
                disk.touch(mode=0o600)
                os.truncate(disk, POOL_SIZE)

    def _argv(self, built: Path) -> list[str]:
        folder, port = self.identity.folder, self.identity.port
        argv = [
            *("nice", "-n", str(PREFERENCE)),
            *machine_of(built),
            *("-name", self.identity.name, "-smp", "1", "-m", str(MEMORY_MIB)),
            *("-display", "none", "-serial", "stdio", "-monitor", "none"),
            *("-kernel", str(built / "vmlinuz"), "-initrd", str(built / "initrd.img")),
            *("-append", " ".join(KERNEL_ARGUMENTS)),
        ]
        disks = [("root", "root.img", ""), ("seed", "seed.tar", ",readonly=on")]
        disks += [(pool, f"{pool}.img", ",discard=unmap") for pool in POOLS]
        for name, file, more in disks:
            argv += [
                "-drive",
                f"file={folder / file},if=none,id={name},format=raw,cache=unsafe{more}",
            ]
            argv += ["-device", f"virtio-blk-pci,drive={name},serial={name}"]
        argv += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"]
        argv += ["-device", "virtio-net-pci,netdev=net,romfile="]
        argv += ["-object", "rng-random,id=rng,filename=/dev/urandom"]
        return [*argv, "-device", "virtio-rng-pci,rng=rng"]


def machine_of(built: Path) -> list[str]:
    """The command of an empty machine: KVM where a kernel really starts under it, else emulated."""
    empty = ["-nodefaults", "-machine", "q35,sata=off"]
    if _kvm_works(built):
        return [emulator.PROGRAM, *empty, "-accel", "kvm", "-cpu", "host"]
    # Kernel 6.12 panics under QEMU 7.2 when it finds cmpxchg16b. Emulated AVX costs more than it
    # saves: without it hosts boot in 40 s instead of 50, and ssh and ZFS are half as fast again.
    emulated = ["-accel", "tcg,thread=multi", "-cpu", "Westmere-v2,-cx16,-vmx,-spec-ctrl"]
    return [*emulator.emulator(), *empty, *emulated]


def _kvm_works(built: Path) -> bool:
    """Whether a kernel says its name under KVM; asked once per boot of this machine.

    The device file alone proves nothing: inside some virtual machines it is there and hangs.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    answer = cache.run_folder() / "kvm"
    if answer.exists() and answer.read_text(encoding="ascii").startswith(boot):
        return answer.read_text(encoding="ascii").split()[1] == "yes"
    progress.say("does KVM work here? (a boot tells, at most 20 s)")
    argv = [emulator.PROGRAM, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256"]
    argv += ["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"]
    argv += ["-kernel", str(built / "vmlinuz"), "-append", "console=ttyS0 panic=-1"]
    try:
        tried = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=_KVM_PROBE_S, check=False
        )
        works = b"Linux version" in tried.stdout
    except subprocess.TimeoutExpired as late:
        works = b"Kernel panic" in (late.stdout or b"")
    answer.write_text(f"{boot} {'yes' if works else 'no'}\n", encoding="ascii")
    return works


def needed_programs() -> list[str]:
    """The programs this room calls that are not there."""
    return [
        name for name in ("qemu-system-x86_64", "mmdebstrap", "mkfs.ext4") if not shutil.which(name)
    ]
