"""The operator of this checkout, run against the lab's control plane as its service account."""

import os
import urllib.error
import urllib.request

from worlds import cache, progress
from worlds.kubeapi import NAMESPACE, KubeApi
from worlds.processes import Process, free_port, wait_until

PROGRAM = cache.PROJECT / ".venv" / "bin" / "backstay-operator"
READY_S = 240.0


def process() -> Process:
    """The operator's process, running or not."""
    return Process("operator", cache.run_folder())


def http_port() -> int:
    """The port of /metrics, /livez and /readyz; recorded with the first start."""
    record = cache.run_folder() / "operator.port"
    if not record.exists():
        record.write_text(str(free_port(22480)), encoding="ascii")
    return int(record.read_text(encoding="ascii"))


def settings(plane: KubeApi) -> dict[str, str]:
    """The environment that tells the operator where it works and who it is."""
    return {
        "KUBECONFIG": str(plane.operator_kubeconfig),
        "BACKSTAY_NAMESPACE": NAMESPACE,
        "BACKSTAY_INSTALLATION_ID": f"{NAMESPACE}/backstay",
        "BACKSTAY_HTTP_PORT": str(http_port()),
        "PYTHONUNBUFFERED": "1",
    }


def start(plane: KubeApi) -> bool:
    """The operator runs and says that it is ready; answers whether it was started."""
    operator = process()
    if not PROGRAM.exists():
        raise RuntimeError(f"{PROGRAM} is missing: `make setup` installs the project")
    if operator.pid() is not None:
        return False
    operator.start([str(PROGRAM)], {**os.environ, **settings(plane)})
    wait_until(lambda: is_ready() or operator.pid() is None, READY_S)
    if operator.pid() is None or not is_ready():
        raise RuntimeError(
            f"the operator is not ready; the end of {operator.log}:\n{operator.tail(25)}"
        )
    progress.say(f"operator is ready (pid {operator.pid()}, log {operator.log})")
    return True


def is_ready() -> bool:
    """Whether /readyz says so."""
    return _get("/readyz") is not None


def metrics() -> str:
    """The text of /metrics; empty while the operator does not answer."""
    return _get("/metrics") or ""


def _get(path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port()}{path}", timeout=3) as answer:
            return str(answer.read().decode()) if answer.status == 200 else None
    except (OSError, urllib.error.URLError):
        return None
