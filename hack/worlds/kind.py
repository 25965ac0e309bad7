"""A real Kubernetes API in a container: a kind cluster, where a container engine runs.

Nothing in the cluster has to reach the lab's hosts: the operator is a process of this machine.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from worlds import binaries, cache, progress
from worlds.kubeapi import NAMESPACE, KubeApi
from worlds.processes import wait_until

KIND, BUILT = "kind", "built"
VARIABLE = "BACKSTAY_CONTROLPLANE"
# Engines that kind can use → what of `info` only a running engine knows. A command named docker
# that is podman's has no ServerVersion, and so counts as podman.
ENGINES = {
    "docker": "{{.ServerVersion}}",
    "podman": "{{.Version.Version}}",
    "nerdctl": "{{.ServerVersion}}",
}
ANSWER_S = 5.0  # a running engine takes a tenth; one that hangs is of no use to kind either
READY_S = 180.0
_COMMAND_S = 120.0
_WITHOUT = f"`make up {VARIABLE}={BUILT}` does without a container engine"


def answering_engine() -> str | None:
    """The first engine that answers in time; a command whose daemon does not run is none."""
    asked = os.environ.get("KIND_EXPERIMENTAL_PROVIDER", "")  # kind's own word
    names = [asked] if asked in ENGINES else list(ENGINES)
    return next((name for name in names if _answers(name)), None)


def _answers(engine: str) -> bool:
    argv = [engine, "info", "--format", ENGINES[engine]]
    try:
        said = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0 and bool(said.stdout.strip())


def choose(wanted: str, running: str | None, engine: str | None) -> str:
    """Which control plane `up` brings up: KIND or BUILT; a RuntimeError where neither can be.

    | wanted | runs already  | an engine answers | answer                  |
    |--------|---------------|-------------------|-------------------------|
    | ""     | one           | whatever          | that one                |
    | ""     | none          | yes               | kind                    |
    | ""     | none          | no                | built                   |
    | built  | none or built | whatever          | built                   |
    | kind   | none          | yes               | kind                    |
    | kind   | none          | no                | error                   |
    | kind   | kind          | whatever          | kind                    |
    | one    | the other     | whatever          | error                   |
    """
    if wanted not in ("", KIND, BUILT):
        raise RuntimeError(f"{VARIABLE}={wanted}: say {KIND} or {BUILT}, or leave it out")
    if running is not None:
        if wanted not in ("", running):
            raise RuntimeError(
                f"{VARIABLE}={wanted}, but the other control plane ({running}) runs:"
                " `make down` first, its objects go with it"
            )
        return running
    if wanted == KIND and engine is None:
        raise RuntimeError(
            f"{VARIABLE}={KIND}, but no container engine answers ({', '.join(ENGINES)}:"
            f" start one, and see that `docker info` works); {_WITHOUT}"
        )
    return wanted or (BUILT if engine is None else KIND)


@dataclass(frozen=True, slots=True)
class KindCluster(KubeApi):
    """A cluster with one node. Its record says in which engine it was made, and that by us."""

    @property
    def name(self) -> str:
        """The same for the same folder, so that the clusters of two caches do not meet."""
        return f"backstay-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"

    @property
    def record(self) -> Path:
        return self.folder / "engine"

    @property
    def log(self) -> Path:
        return cache.cache_root() / "logs" / "kind-cluster.log"

    def is_ours(self) -> bool:
        """Whether we made it, or began to; only then is it ours to delete."""
        return self.record.exists()

    def address(self) -> dict[str, str]:
        """As in the kubeconfig that kind wrote."""
        written = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))
        found: dict[str, str] = written["clusters"][0]["cluster"]
        return found

    def start(self, engine: str) -> bool:
        """It runs and is ready; answers whether it was made. One that runs stays where it is."""
        complete = self.is_ours() and self.kubeconfig.exists()  # which `create` writes last
        if not complete:
            self.stop()  # what an interrupted start left
            self._create(engine)
        elif not self.is_ready():
            raise RuntimeError(
                f"the kind cluster {self.name} does not answer: does {self._engine()} run?"
                " `make down` deletes the cluster and its objects"
            )
        self.kubectl("config", "set-context", "--current", f"--namespace={NAMESPACE}")
        return not complete

    def stop(self) -> bool:
        """It is gone with its objects if it was ours; answers whether it was."""
        if not self.is_ours():
            return False
        engine = self._engine()
        try:
            self._kind(engine, "delete", "cluster", *self._named())
        except RuntimeError as failure:
            raise RuntimeError(
                f"the kind cluster {self.name} could not be deleted, start {engine} and say"
                f" `make down` again: {failure}"
            ) from None
        shutil.rmtree(self.folder)
        return True

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        arguments = ("get", "--raw", "/readyz", "--request-timeout=5s")
        try:
            return self.kubectl(*arguments, timeout_s=20.0).strip() == "ok"
        except (RuntimeError, subprocess.TimeoutExpired):
            return False

    def _create(self, engine: str) -> None:
        if self.name in self._kind(engine, "get", "clusters").split():
            raise RuntimeError(
                f"a kind cluster {self.name} is there, but nothing here says that we made it;"
                f" if it is left over: {engine} rm -f {self.name}-control-plane"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record.write_text(engine, encoding="ascii")  # first: an interrupted start is ours too
        argv = [str(binaries.binary("kind")), "create", "cluster", *self._named()]
        try:
            progress.run_logged(f"kind cluster in {engine}", argv, self.log, env=_uses(engine))
            if not wait_until(self.is_ready, READY_S, 1.0):
                raise RuntimeError(f"kind made a cluster that is not ready after {READY_S:.0f} s")
        except (SystemExit, RuntimeError) as failure:
            with contextlib.suppress(RuntimeError):  # the record stays, so that `down` tries again
                self.stop()
            raise RuntimeError(f"{failure}\n{_WITHOUT} (the whole log: {self.log})") from None
        progress.say(f"kind cluster {self.name} is ready")

    def _engine(self) -> str:
        return self.record.read_text(encoding="ascii").strip()

    def _named(self) -> tuple[str, ...]:
        return ("--name", self.name, "--kubeconfig", str(self.kubeconfig))

    def _kind(self, engine: str, *arguments: str) -> str:
        argv = [str(binaries.binary("kind")), *arguments]
        env = {**os.environ, **_uses(engine)}
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, env=env, timeout=_COMMAND_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"kind {arguments[0]}: no answer in {_COMMAND_S:.0f} s") from None
        if done.returncode:
            raise RuntimeError(f"kind {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def _uses(engine: str) -> dict[str, str]:
    return {"KIND_EXPERIMENTAL_PROVIDER": engine}
