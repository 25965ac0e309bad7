"""One installation with its own namespace, rights, operator and dataset roots on both hosts."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from e2e import manifests
from e2e.patience import PATIENCE_S, eventually
from e2e.program import Operator, operator
from worlds import install
from worlds.api import ControlPlane, LabHost

_RIGHTS = ("ServiceAccount", "Role", "RoleBinding")


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as the API server has it now."""

    body: dict[str, Any]

    @property
    def status(self) -> dict[str, Any]:
        """Its status; empty before the first one was written."""
        found: dict[str, Any] = self.body.get("status", {})
        return found

    @property
    def point(self) -> dict[str, Any]:
        """status.recoveryPoint; empty without any."""
        found: dict[str, Any] = self.status.get("recoveryPoint", {})
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        """The condition of that type; empty when it is absent."""
        conditions = self.status.get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def verdict(self, kind: str) -> tuple[str, str]:
        """Status and reason of the condition of that type."""
        found = self.condition(kind)
        return found.get("status", "absent"), found.get("reason", "")

    def __str__(self) -> str:
        conditions = [
            f"{c['type']}={c['status']} ({c['reason']}: {c['message']})"
            for c in self.status.get("conditions", [])
        ]
        name = self.body["metadata"]["name"]
        return f"{name}: point {self.point.get('snapshot')}; {'; '.join(conditions)}"


@dataclass(slots=True)
class Scene:
    """What one module of tests works with; `source` and `target` are datasets of its own."""

    plane: ControlPlane
    folder: Path
    hosts: list[LabHost]
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))
    operators: list[Operator] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """Where its objects are."""
        return f"e2e-{self.suffix}"

    @property
    def installation(self) -> str:
        """Who its operators are to the hosts."""
        return f"e2e/{self.suffix}"

    @property
    def source(self) -> str:
        """Parent of its source datasets, on the first host."""
        return f"tank/e2e-{self.suffix}"

    @property
    def root(self) -> str:
        """Its receive root on the second host."""
        return f"backup/e2e-{self.suffix}"

    @property
    def a(self) -> LabHost:
        """The source's host."""
        return self.hosts[0]

    @property
    def b(self) -> LabHost:
        """The target's host."""
        return self.hosts[1]

    # --- the world -------------------------------------------------------------------------------

    def build(self) -> None:
        """The namespace with the chart's rights, and the parents of all datasets."""
        self.install()
        self.a.run(f"zfs create {self.source}")
        self.b.run(f"zfs create -o canmount=off {self.root}")

    def install(self) -> None:
        """The namespace exists, with the chart's rights and a kubeconfig for the operator."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        rendered = install.render_chart(install.CHART, "--namespace", self.namespace)
        rights = [d for d in yaml.safe_load_all(rendered) if d and d["kind"] in _RIGHTS]
        account = next(d["metadata"]["name"] for d in rights if d["kind"] == "ServiceAccount")
        self.apply(namespace)
        self.apply(*rights)
        token = self.kubectl("create", "token", account, "--duration=24h").strip()
        self.plane.write_kubeconfig(self.kubeconfig, account, token, self.namespace)

    @property
    def kubeconfig(self) -> Path:
        """The operator's, with the token of the chart's service account."""
        return self.folder / f"{self.namespace}.kubeconfig"

    def operator(self, name: str = "operator", **settings: str) -> Operator:
        """Another operator of this installation; not started yet."""
        told = {"namespace": self.namespace, "installation_id": self.installation, **settings}
        made = operator(f"{self.namespace}-{name}", self.folder, self.kubeconfig, **told)
        self.operators.append(made)
        return made

    def tear_down(self) -> None:
        """The operators have ended; objects and datasets are gone, as far as they let go."""
        for each in self.operators:
            each.thaw()
            each.stop()
        self.a.attempt(f"zfs destroy -R -f {self.source}")
        self.b.attempt(f"zfs destroy -R -f {self.root}")

    # --- the API ---------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints as administrator in the scene's namespace."""
        return self.plane.kubectl("-n", self.namespace, *arguments, given=given)

    def apply(self, *documents: manifests.Document) -> None:
        """`kubectl apply` of these."""
        self.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(documents))

    def apply_sites(self, **changes: Any) -> None:
        """Secret, policy, and the Sites fra and muc, with changes to muc's host."""
        self.apply(
            manifests.secret(self.a.key_path.read_bytes()),
            manifests.policy(),
            manifests.site("fra", manifests.host_entry(self.a)),
            manifests.site("muc", manifests.host_entry(self.b, self.root, **changes)),
        )

    def get(self, kind: str, name: str) -> Seen:
        """The object now."""
        return Seen(json.loads(self.kubectl("get", kind, name, "-o", "json")))

    def request(self, *pairs: str) -> None:
        """A pass is asked for."""
        request = f"backstay.dev/requested-at={secrets.token_hex(4)}"
        self.kubectl("annotate", "--overwrite", "rpair", *pairs, request)

    def await_verdict(
        self,
        kind: str,
        name: str,
        condition: str,
        wanted: tuple[str, str],
        within_s: float = PATIENCE_S,
    ) -> Seen:
        """The object once the condition has that status and reason."""

        def settled() -> Seen:
            seen = self.get(kind, name)
            assert seen.verdict(condition) == wanted, seen
            return seen

        return eventually(settled, within_s)

    def await_ready(self, *pairs: str, within_s: float = PATIENCE_S) -> list[Seen]:
        """The pairs once each is Ready and its RPO is met."""

        def ready(name: str) -> Seen:
            seen = self.get("rpair", name)
            assert seen.verdict("Ready")[0] == "True", seen
            assert seen.verdict("RPOMet")[0] == "True", seen
            return seen

        return [eventually(partial(ready, name), within_s) for name in pairs]

    def await_next_point(self, name: str, before: Seen, within_s: float = PATIENCE_S) -> Seen:
        """The pair once it has another recovery point than before."""

        def newer() -> Seen:
            seen = self.get("rpair", name)
            assert seen.point, seen
            assert seen.point["snapshot"] != before.point["snapshot"], seen
            return seen

        return eventually(newer, within_s)

    def next_point(self, name: str) -> Seen:
        """The pair after a pass that was asked for has brought another recovery point."""
        before = self.get("rpair", name)
        self.request(name)
        return self.await_next_point(name, before)
