"""On what it was measured: this machine, the hosts, the versions, and who else was at work."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from bench.peers import project_commit
from worlds.api import LabHost


def describe(hosts: list[LabHost]) -> dict[str, Any]:
    """The machine and its hosts; no names or paths of this very machine."""
    return {
        "commit": project_commit(),
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gib": round(_kib("/proc/meminfo", "MemTotal") / 2**20),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "hosts": [_host(host) for host in hosts],
    }


def load() -> float:
    """Processes that want a core at this moment, as a mean over the last minute."""
    return os.getloadavg()[0]


def _host(host: LabHost) -> dict[str, Any]:
    said = host.run(
        "uname -r; zfs version | head -1; python3 --version; nproc; "
        "grep -m1 'model name' /proc/cpuinfo; grep MemTotal /proc/meminfo; "
        "systemd-detect-virt || true; "
        "cat /sys/devices/system/clocksource/clocksource0/current_clocksource"
    ).splitlines()
    return {
        "name": host.name,
        "virtualization": {"qemu": "QEMU, emulated (TCG)", "kvm": "QEMU, KVM"}.get(
            said[6], said[6]
        ),
        "cpu": said[4].partition(":")[2].strip(),
        "cores": int(said[3]),
        "memory_gib": round(int(said[5].split()[1]) / 2**20, 1),
        "kernel": said[0],
        "zfs": said[1],
        "clocksource": said[7],  # under load it may fall back to a slow one
        "python": said[2].removeprefix("Python "),
    }


def _first(file: str, key: str) -> str:
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _kib(file: str, key: str) -> int:
    return int(_first(file, key).split()[0])
