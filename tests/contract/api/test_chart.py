"""The chart: what it renders is admitted, what it grants suffices, what it leaves stays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.api.conftest import ControlPlane
from contract.api.manifests import site
from worlds import binaries

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "backstay"
NAMESPACE, OTHER = "chart-restricted", "chart-other"
EVERYTHING = (
    "--set",
    f"watch.namespaces={{{OTHER}}},metrics.service.enabled=true,podLabels.team=dr,"
    "podAnnotations.seen=yes,imagePullSecrets[0].name=pull,priorityClassName=high,"
    "nodeSelector.zone=third,serviceAccount.annotations.a=b,installationId=dr/one",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "with everything": EVERYTHING,
    "cluster-wide": ("--set", "watch.cluster=true"),
    "without CRDs and roles for people": ("--set", "crds.install=false,rbac.userRoles=false"),
}
Document = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what helm did and said."""
    argv = [str(binaries.binary("helm")), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def rendered(*values: str) -> list[Document]:
    """Return the documents of a release `backstay` in the restricted namespace."""
    done = helm("template", "backstay", str(CHART), "--namespace", NAMESPACE, *values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Return the documents of one kind."""
    return [document for document in documents if document["kind"] == kind]


def environment(documents: list[Document]) -> dict[str, str]:
    """Return the environment that the operator is given."""
    (deployment,) = of_kind(documents, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def pod_of(documents: list[Document]) -> Document:
    """Return the pod that the Deployment's controller would create."""
    (deployment,) = of_kind(documents, "Deployment")
    template = deployment["spec"]["template"]
    metadata = {
        "name": "operator",
        "namespace": NAMESPACE,
        "labels": template["metadata"]["labels"],
    }
    spec = {key: value for key, value in template["spec"].items() if key != "priorityClassName"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def restricted(controlplane: ControlPlane) -> ControlPlane:
    """The API server with a namespace that admits restricted pods only, and another namespace."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    for name, more in ((NAMESPACE, labels), (OTHER, {})):
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": more},
        }
        controlplane.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(namespace))
    return controlplane


def dry_run(plane: ControlPlane, documents: list[Document]) -> subprocess.CompletedProcess[str]:
    """Return what kubectl said when the server judged the documents without storing them."""
    argv = [str(binaries.binary("kubectl")), "--kubeconfig", str(plane.kubeconfig)]
    argv += ["apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-"]
    return subprocess.run(
        argv,
        input=yaml.safe_dump_all(documents),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_chart_passes_a_strict_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_what_is_rendered_is_admitted_without_a_warning(
    restricted: ControlPlane, values: tuple[str, ...]
) -> None:
    documents = rendered(*values)
    done = dry_run(restricted, documents)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(documents)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_the_pod_is_admitted_where_pods_are_restricted(
    restricted: ControlPlane, values: tuple[str, ...]
) -> None:
    done = dry_run(restricted, [pod_of(rendered(*values))])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("part", "loosened"),
    [
        ("pod", {"runAsNonRoot": False}),
        ("pod", {"seccompProfile": {"type": "Unconfined"}}),
        ("container", {"allowPrivilegeEscalation": True}),
        ("container", {"capabilities": {}}),
    ],
    ids=["root", "no seccomp", "privilege escalation", "capabilities"],
)
def test_a_looser_pod_is_refused_there(
    restricted: ControlPlane, part: str, loosened: Document
) -> None:
    pod = pod_of(rendered())
    where = pod["spec"] if part == "pod" else pod["spec"]["containers"][0]
    where["securityContext"] |= loosened
    done = dry_run(restricted, [pod])
    assert 'violates PodSecurity "restricted' in done.stderr


def test_only_one_operator_runs_and_nothing_of_it_is_writable_but_memory() -> None:
    (deployment,) = of_kind(rendered(), "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (
        1,
        {"type": "Recreate"},
    )
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [volume["emptyDir"]["medium"] for volume in spec["volumes"]] == ["Memory"]
    probes = (container["livenessProbe"], container["readinessProbe"])
    assert [probe["httpGet"] for probe in probes] == [
        {"path": "/livez", "port": "http"},
        {"path": "/readyz", "port": "http"},
    ]


def test_the_operator_is_told_where_it_works_and_who_it_is() -> None:
    assert environment(rendered()) | {
        "BACKSTAY_NAMESPACE": NAMESPACE,
        "BACKSTAY_WATCH_NAMESPACES": NAMESPACE,
        "BACKSTAY_INSTALLATION_ID": f"{NAMESPACE}/backstay",
        "BACKSTAY_LEASE_NAME": "backstay",
        "BACKSTAY_HTTP_PORT": "8080",
    } == environment(rendered())
    everything = environment(rendered(*EVERYTHING))
    assert everything["BACKSTAY_WATCH_NAMESPACES"] == f"{NAMESPACE},{OTHER}"
    assert everything["BACKSTAY_INSTALLATION_ID"] == "dr/one"
    cluster = environment(rendered("--set", "watch.cluster=true"))
    assert cluster["BACKSTAY_WATCH_NAMESPACES"] == "*"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("watch.namespace=x", "namespace"),
        ("watch.cluster=often", "cluster"),
        ("watch.namespaces={A_B}", "pattern"),
        ("replicas=2", "replicas"),
        ("http.port=80", "/http/port"),
        ("installationId=Has Blanks", "pattern"),
        ("image.repository=", "repository"),
    ],
)
def test_wrong_values_are_refused_with_their_name(value: str, says: str) -> None:
    done = helm("template", "backstay", str(CHART), "--set", value)
    assert done.returncode != 0
    assert says in done.stderr


ALLOWED = (
    ("get", "sites.backstay.dev", NAMESPACE),
    ("list", "protectionpolicies.backstay.dev", NAMESPACE),
    ("watch", "replicationpairs.backstay.dev", OTHER),
    ("patch", "sites.backstay.dev/status", NAMESPACE),
    ("patch", "protectionpolicies.backstay.dev/status", OTHER),
    ("patch", "replicationpairs.backstay.dev/status", NAMESPACE),
    ("patch", "replicationpairs.backstay.dev", NAMESPACE),
    ("get", "secrets/fra-ssh", OTHER),
    ("create", "events", NAMESPACE),
    ("create", "leases.coordination.k8s.io", NAMESPACE),
    ("get", "leases.coordination.k8s.io/backstay", NAMESPACE),
    ("patch", "leases.coordination.k8s.io/backstay", NAMESPACE),
)
DENIED = (
    ("list", "sites.backstay.dev", "default"),
    ("list", "secrets", NAMESPACE),
    ("watch", "secrets", NAMESPACE),
    ("get", "secrets/fra-ssh", "default"),
    ("update", "secrets/fra-ssh", NAMESPACE),
    ("patch", "sites.backstay.dev", NAMESPACE),
    ("patch", "protectionpolicies.backstay.dev", NAMESPACE),
    ("update", "replicationpairs.backstay.dev", NAMESPACE),
    ("create", "replicationpairs.backstay.dev", NAMESPACE),
    ("delete", "replicationpairs.backstay.dev", NAMESPACE),
    ("get", "leases.coordination.k8s.io/another", NAMESPACE),
    ("patch", "leases.coordination.k8s.io/another", NAMESPACE),
    ("patch", "leases.coordination.k8s.io/backstay", OTHER),
    ("update", "leases.coordination.k8s.io/backstay", NAMESPACE),
    ("patch", "events", OTHER),
    ("list", "pods", NAMESPACE),
    ("list", "namespaces", ""),
    ("list", "customresourcedefinitions.apiextensions.k8s.io", ""),
)


@pytest.fixture(scope="module")
def granted(restricted: ControlPlane) -> Iterator[ControlPlane]:
    """The API server with the chart's account and rights for two namespaces."""
    kinds = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole")
    documents = [document for document in rendered(*EVERYTHING) if document["kind"] in kinds]
    # A name of our own, as the lab's release has these ClusterRoles.
    for document in of_kind(documents, "ClusterRole"):
        document["metadata"]["name"] = f"chart-{document['metadata']['name']}"
    given = yaml.safe_dump_all(documents)
    restricted.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=given)
    yield restricted
    restricted.kubectl("delete", "--wait=false", "-f", "-", given=given)


def may(plane: ControlPlane, user: str, question: tuple[str, str, str]) -> bool:
    """Whether the API server lets a user do something."""
    verb, what, namespace = question
    resource, _, name = what.partition("/")
    group_of, _, group = resource.partition(".")
    attributes = {"verb": verb, "resource": group_of, "group": group, "namespace": namespace}
    attributes |= {"subresource": name} if name == "status" else {"name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = plane.kubectl("create", "-o", "json", "-f", "-", given=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


ACCOUNT = f"system:serviceaccount:{NAMESPACE}:backstay"


@pytest.mark.parametrize("question", ALLOWED, ids=" ".join)
def test_the_operator_may_do_what_it_needs(
    granted: ControlPlane, question: tuple[str, str, str]
) -> None:
    assert may(granted, ACCOUNT, question)


@pytest.mark.parametrize("question", DENIED, ids=" ".join)
def test_the_operator_may_do_no_more(granted: ControlPlane, question: tuple[str, str, str]) -> None:
    assert not may(granted, ACCOUNT, question)


@pytest.mark.parametrize(
    ("role", "verb", "allowed"),
    [
        ("viewer", "list", True),
        ("viewer", "create", False),
        ("viewer", "patch", False),
        ("editor", "create", True),
        ("editor", "delete", True),
        ("editor", "list", True),
    ],
)
def test_people_may_look_or_edit_by_their_role(
    granted: ControlPlane, role: str, verb: str, allowed: bool
) -> None:
    person = f"{role}-of-chart"
    binding = ("create", "rolebinding", person, f"--clusterrole=chart-backstay-{role}")
    given = granted.kubectl(
        *binding, f"--user={person}", "-n", OTHER, "--dry-run=client", "-o", "yaml"
    )
    granted.kubectl("apply", "--server-side", "-f", "-", given=given)
    for resource in ("sites", "protectionpolicies", "replicationpairs"):
        assert may(granted, person, (verb, f"{resource}.backstay.dev", OTHER)) is allowed
    assert not may(granted, person, ("patch", "replicationpairs.backstay.dev/status", OTHER))
    lease = "leases.coordination.k8s.io/backstay"
    assert may(granted, person, ("get", lease, OTHER))
    assert not may(granted, person, ("patch", lease, OTHER))
    assert not may(granted, person, ("get", "leases.coordination.k8s.io/another", OTHER))


def test_roles_for_people_join_the_roles_that_they_have() -> None:
    roles = {
        document["metadata"]["name"]: document["metadata"]["labels"]
        for document in of_kind(rendered(), "ClusterRole")
    }
    aggregated = {
        name: sorted(key.rpartition("-")[2] for key in labels if "aggregate-to" in key)
        for name, labels in roles.items()
    }
    assert aggregated == {
        "backstay-viewer": ["admin", "edit", "view"],
        "backstay-editor": ["admin", "edit"],
    }


def test_the_chart_brings_the_very_kinds_and_keeps_them() -> None:
    brought = of_kind(rendered(), "CustomResourceDefinition")
    files = sorted((ROOT / "crds").glob("*.yaml"))
    assert len(brought) == len(files) == 3
    for document in brought:
        assert document["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    specs = {document["metadata"]["name"]: document["spec"] for document in brought}
    for path in files:
        generated = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert specs[generated["metadata"]["name"]] == generated["spec"]


def test_objects_survive_an_uninstall_and_meet_the_next_install(
    private_controlplane: ControlPlane,
) -> None:
    plane = private_controlplane
    connection = ("--kubeconfig", str(plane.kubeconfig), "--namespace", "dr")
    first = ("install", "backstay", str(CHART), "--create-namespace", "--take-ownership")
    for step in (first, ("uninstall", "backstay"), ("install", "backstay", str(CHART))):
        done = helm(*step, *connection)
        assert done.returncode == 0, done.stderr
        if step is first:
            assert "create secret generic ssh" in done.stdout
            plane.kubectl("apply", "-n", "dr", "-f", "-", given=json.dumps(site()))
        listed = plane.kubectl("get", "backstay", "-n", "dr", "-o", "name")
        assert listed.split() == ["site.backstay.dev/fra"]
    deployments = plane.kubectl("get", "deployments", "-n", "dr", "-o", "name")
    assert deployments.split() == ["deployment.apps/backstay"]
