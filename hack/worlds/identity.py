"""Names, ports and keys of the lab hosts: made once per cache, so that they can be pinned."""

import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from worlds import cache, processes

FIRST_PORT = int(os.environ.get("LAB_FIRST_PORT", "22101"))
GATEWAY = "10.0.2.2"  # the address at which an emulated host reaches this machine's 127.0.0.1
RESERVED_NAMES = ("zfs-a", "zfs-b", "zfs-c")


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a host before it boots."""

    name: str
    port: int
    folder: Path

    @property
    def host_key(self) -> str:
        """The public host key as OpenSSH writes it, without a comment: `ssh-ed25519 AAAA…`."""
        text = (self.folder / "ssh_host_ed25519_key.pub").read_text(encoding="ascii")
        return " ".join(text.split()[:2])


def host_names() -> list[str]:
    """The hosts that are wanted: two, or as many as LAB_HOSTS says."""
    count = os.environ.get("LAB_HOSTS", "2")
    if count not in "123456789" or len(count) != 1:
        raise SystemExit(f"LAB_HOSTS={count}: between 1 and 9 hosts are possible")
    return [f"zfs-{chr(ord('a') + index)}" for index in range(int(count))]


def key_path() -> Path:
    """The private key that opens every lab host; made when missing."""
    path = cache.run_folder() / "id_ed25519"
    _make_key(path)
    return path


def identities(names: list[str]) -> list[Identity]:
    """Port and host key of each name, and of the reserved names so that all know all; made once."""
    wanted = sorted({*names, *RESERVED_NAMES})
    found = {}
    for index, name in enumerate(wanted):
        folder = cache.run_folder() / "hosts" / name
        folder.mkdir(parents=True, exist_ok=True)
        _make_key(folder / "ssh_host_ed25519_key")
        found[name] = Identity(name, _port(folder, name, FIRST_PORT + index), folder)
    return list(found.values())


def write_ssh_files(known: list[Identity]) -> Path:
    """The ssh_config (and known_hosts) with which this machine reaches the hosts as root."""
    folder = cache.run_folder()
    hosts_file = folder / "known_hosts"
    config = folder / "ssh_config"
    config.write_text(_client_config(known, "127.0.0.1", key_path(), hosts_file), encoding="utf-8")
    hosts_file.write_text(_known_hosts(known, "127.0.0.1"), encoding="utf-8")
    return config


def write_seed(host: Identity, known: list[Identity]) -> Path:
    """The tar file that gives a booting host its name, its keys and the way to the others."""
    key = key_path()
    files = {
        "etc/hostname": (f"{host.name}\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n", 0o644),
        "etc/ssh/lab_authorized_keys": (key.with_suffix(".pub").read_text(), 0o644),
        "root/.ssh/id_ed25519": (key.read_text(), 0o600),
        "root/.ssh/known_hosts": (_known_hosts(known, GATEWAY), 0o600),
        "root/.ssh/config": (
            _client_config(
                known, GATEWAY, Path("/root/.ssh/id_ed25519"), Path("/root/.ssh/known_hosts")
            ),
            0o600,
        ),
    }
    for suffix, mode in (("", 0o600), (".pub", 0o644)):
        text = (host.folder / f"ssh_host_ed25519_key{suffix}").read_text(encoding="ascii")
        files[f"etc/ssh/ssh_host_ed25519_key{suffix}"] = (text, mode)
    path = host.folder / "seed.tar"
    with tarfile.open(path, "w") as archive:
        folder = tarfile.TarInfo("root/.ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for name, (text, mode) in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    path.chmod(0o600)
    return path


def _port(folder: Path, name: str, preferred: int) -> int:
    """The recorded port of a host; another one when somebody took it while the host was off."""
    record = folder / "port"
    if record.exists():
        port = int(record.read_text(encoding="ascii"))
        running = processes.Process(name, cache.run_folder()).pid() is not None
        if running or not processes.is_listening(port):
            return port
        preferred = port + len(RESERVED_NAMES)
    others = {int(other.read_text(encoding="ascii")) for other in folder.parent.glob("*/port")}
    port = processes.free_port(preferred, others)
    record.write_text(f"{port}\n", encoding="ascii")
    return port


def _make_key(path: Path) -> None:
    if not path.exists():
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _known_hosts(known: list[Identity], address: str) -> str:
    return "".join(f"[{address}]:{host.port} {host.host_key}\n" for host in known)


def _client_config(known: list[Identity], address: str, key: Path, hosts_file: Path) -> str:
    blocks = [f"Host {host.name}\n  HostName {address}\n  Port {host.port}\n" for host in known]
    common = (
        f"Host zfs-*\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {hosts_file}\n  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n  BatchMode yes\n  ServerAliveInterval 15\n"
    )
    return "".join([*blocks, common])
