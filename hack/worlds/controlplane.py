"""A real Kubernetes API: etcd and kube-apiserver on 127.0.0.1, without nodes and controllers."""

import json
import os
import secrets
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worlds import binaries, progress
from worlds.kubeapi import KubeApi
from worlds.processes import Process, free_port, is_listening, wait_until

READY_S = 180.0
FIRST_PORT = int(os.environ.get("LAB_CONTROLPLANE_PORT", "22443"))
_GRACE_S = 3.0  # data are thrown away with the world, so nothing needs a long good-bye


@dataclass(frozen=True, slots=True)
class ControlPlane(KubeApi):
    """One control plane; everything it owns lies in `folder`, its process ids in `pids`."""

    pids: Path
    first_port: int = FIRST_PORT

    @property
    def etcd(self) -> Process:
        return Process("etcd", self.pids)

    @property
    def apiserver(self) -> Process:
        return Process("apiserver", self.pids)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._ports()['api']}"

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self._ports()['etcd']}"

    def start(self) -> bool:
        """Both run and are ready; answers whether anything was started."""
        self._forget_taken_ports()
        started = self.start_etcd()
        return self.start_apiserver() or started

    def start_etcd(self) -> bool:
        """etcd runs and is healthy."""
        if self.etcd.pid() is not None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        peer = f"http://127.0.0.1:{self._ports()['peer']}"
        argv = [str(binaries.binary("etcd")), "--data-dir", str(self.folder / "etcd")]
        argv += ["--listen-client-urls", self.etcd_url, "--advertise-client-urls", self.etcd_url]
        argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        argv += ["--initial-cluster", f"default={peer}", "--unsafe-no-fsync", "--log-level", "warn"]
        self.etcd.start(argv)
        self._await(self.etcd, self._etcd_healthy)
        return True

    def start_apiserver(self) -> bool:
        """kube-apiserver runs and is ready; the administrator's kubeconfig is written."""
        started = self.apiserver.pid() is None
        if started:
            self._make_credentials()
            self.apiserver.start(self._apiserver_argv())
        self._await(self.apiserver, self.is_ready)
        if not self.kubeconfig.exists():
            self.write_kubeconfig(self.kubeconfig, "admin", self._admin_token())
        return started

    def stop(self) -> bool:
        """Both have ended and their data are gone; answers whether any ran."""
        ran = [self.apiserver.stop(_GRACE_S), self.etcd.stop(_GRACE_S)]
        shutil.rmtree(self.folder, ignore_errors=True)
        return any(ran)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        certificate = self._certificate
        if not certificate.exists():
            return False
        request = urllib.request.Request(f"{self.url}/readyz")
        request.add_header("Authorization", f"Bearer {self._admin_token()}")
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def compact(self) -> int:
        """Forget old revisions in etcd, so that watches from them get 410; answers the revision."""
        status = self._etcd("/v3/maintenance/status", {})
        revision = int(status["header"]["revision"])
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        return revision

    def empty_etcd(self) -> None:
        """A control plane without any object: both stopped, etcd's data gone, both started."""
        self.apiserver.kill()
        self.etcd.kill()
        shutil.rmtree(self.folder / "etcd")
        self.start()

    def address(self) -> dict[str, str]:
        """Where the server is, and its certificate."""
        return {"server": self.url, "certificate-authority": str(self._certificate)}

    @property
    def _certificate(self) -> Path:
        return self.folder / "certs" / "apiserver.crt"  # the server appends its own authority

    def _await(self, process: Process, ready: Callable[[], bool]) -> None:
        alive_and_ready = wait_until(lambda: ready() or process.pid() is None, READY_S)
        if not alive_and_ready or process.pid() is None:
            raise RuntimeError(f"{process.name} is not ready:\n{process.tail()}")
        progress.say(f"{process.name} is ready (pid {process.pid()})")

    def _ports(self) -> dict[str, int]:
        """The recorded ports; chosen when first asked for."""
        record = self.folder / "ports.json"
        if not record.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            chosen = {"api": free_port(self.first_port)}
            chosen["etcd"] = free_port(chosen["api"] + 1)
            chosen["peer"] = free_port(chosen["etcd"] + 1)
            record.write_text(json.dumps(chosen), encoding="ascii")
        ports: dict[str, int] = json.loads(record.read_text(encoding="ascii"))
        return ports

    def _forget_taken_ports(self) -> None:
        """Other ports are chosen if a stranger took one of ours while nothing of ours ran."""
        if self.etcd.pid() is not None or self.apiserver.pid() is not None:
            return
        if any(is_listening(port) for port in self._ports().values()):
            (self.folder / "ports.json").unlink()
            self.kubeconfig.unlink(missing_ok=True)

    def _make_credentials(self) -> None:
        tokens, key = self.folder / "tokens.csv", self.folder / "service-accounts.key"
        if not tokens.exists():
            tokens.touch(mode=0o600)
            tokens.write_text(
                f'{secrets.token_hex(24)},admin,admin,"system:masters"\n', encoding="ascii"
            )
        if not key.exists():
            argv = [
                "ssh-keygen",
                "-q",
                "-t",
                "rsa",
                "-b",
                "2048",
                "-m",
                "PEM",
                "-N",
                "",
                "-f",
                str(key),
            ]
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    def _admin_token(self) -> str:
        return (self.folder / "tokens.csv").read_text(encoding="ascii").split(",", 1)[0]

    def _apiserver_argv(self) -> list[str]:
        key = str(self.folder / "service-accounts.key")
        flags = {
            "etcd-servers": self.etcd_url,
            "cert-dir": str(self.folder / "certs"),
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "endpoint-reconciler-type": "none",
            "secure-port": str(self._ports()["api"]),
            "service-cluster-ip-range": "10.0.0.0/24",
            "allow-privileged": "true",
            "authorization-mode": "RBAC",
            "disable-admission-plugins": "ServiceAccount",  # no controller makes default accounts
            "token-auth-file": str(self.folder / "tokens.csv"),
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "profiling": "false",
        }
        return [
            str(binaries.binary("kube-apiserver")),
            *(f"--{name}={value}" for name, value in flags.items()),
        ]

    def _etcd_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.etcd_url}/health", timeout=3) as answer:
                return bool(json.load(answer).get("health") == "true")
        except (OSError, urllib.error.URLError, json.JSONDecodeError):
            return False

    def _etcd(self, path: str, body: dict[str, object]) -> "dict[str, dict[str, str]]":
        request = urllib.request.Request(
            f"{self.etcd_url}{path}", json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, dict[str, str]] = json.load(answer)
        return found
