"""What every control plane of the lab offers: kubectl, and kubeconfigs for bearers of tokens."""

import json
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from worlds import binaries

NAMESPACE = "backstay"


@dataclass(frozen=True, slots=True)
class KubeApi(ABC):
    """A Kubernetes API; everything it owns on this machine lies in `folder`."""

    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "admin.kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        """The chart's service account's, once `install` has made it."""
        return self.folder / "operator.kubeconfig"

    @abstractmethod
    def address(self) -> dict[str, str]:
        """The `cluster` of a kubeconfig: the server, and how it is known to be the right one."""

    def kubectl(self, *arguments: str, given: str | None = None, timeout_s: float = 120.0) -> str:
        """What kubectl prints as administrator; a failure is a RuntimeError with what it said."""
        argv = [str(binaries.binary("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(
            argv, input=given or "", capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def write_kubeconfig(
        self, path: Path, user: str, token: str, namespace: str = NAMESPACE
    ) -> None:
        """A kubeconfig for the bearer of `token`."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": self.address()}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [
                {"name": "lab", "context": {"cluster": "lab", "user": user, "namespace": namespace}}
            ],
            "current-context": "lab",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
