"""Operator processes against a real API server: start, end, leadership, and what breaks them."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controlplane.operators import Operators, Running, wait_until
from fakes import objects
from worlds.api import ControlPlane
from worlds.install import install
from worlds.kubeapi import NAMESPACE
from worlds.processes import is_listening


@pytest.fixture
def operators(tmp_path: Path) -> Iterator[Operators]:
    operators = Operators(tmp_path, [])
    yield operators
    operators.stop_all()
    for running in operators.started:
        print(f"--- {running.name} ---\n{running.tail()}")


@dataclass(slots=True)
class Cluster:
    """A namespace of the test's own on a control plane."""

    plane: ControlPlane
    operators: Operators
    namespace: str

    def start(self, name: str, **settings: str) -> Running:
        """An operator for the namespace, as administrator."""
        return self.operators.start(
            self.plane, name, self.plane.kubeconfig, BACKSTAY_NAMESPACE=self.namespace, **settings
        )

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self.plane.kubectl("-n", self.namespace, *arguments, given=given)

    def apply(self, body: dict[str, Any]) -> None:
        """The object exists as the body says."""
        metadata = {"name": body["metadata"]["name"], "namespace": self.namespace}
        given = json.dumps({**body, "metadata": metadata})
        self.kubectl("apply", "-f", "-", given=given)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def message(self, kind: str, name: str) -> str:
        """The message of the object's Ready condition."""
        conditions = self.get(kind, name).get("status", {}).get("conditions") or [{}]
        return str(conditions[0].get("message", ""))

    def empty(self) -> None:
        """Nothing is stored any more, not even the kinds; address and credentials stay."""
        self.plane.apiserver.kill()
        self.plane.etcd.kill()
        # A killed process holds its ports for as long as its last thread lives, and a port that
        # is taken would be replaced by another one.
        for url in (self.plane.url, self.plane.etcd_url):
            port = int(url.rpartition(":")[2])
            wait_until("the port is free", partial(_is_free, port))
        self.plane.empty_etcd()

    def lease(self) -> tuple[str, int]:
        """(holder, term)."""
        lease = self.get("lease", "backstay")
        term = lease["metadata"]["annotations"]["backstay.dev/term"]
        return lease["spec"].get("holderIdentity", ""), int(term)


@pytest.fixture
def cluster(controlplane: ControlPlane, operators: Operators) -> Iterator[Cluster]:
    namespace = f"t-{secrets.token_hex(4)}"
    controlplane.kubectl("create", "namespace", namespace)
    yield Cluster(controlplane, operators, namespace)
    controlplane.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def own_cluster(private_controlplane: ControlPlane, operators: Operators) -> Cluster:
    return Cluster(private_controlplane, operators, NAMESPACE)


def leading(running: Running) -> Running:
    wait_until(f"{running.name} leads", lambda: running.leads)
    return running


def test_an_operator_sees_objects_reports_them_and_leaves_nothing_of_kopf(
    cluster: Cluster,
) -> None:
    cluster.apply(objects.policy("before"))
    one = leading(cluster.start("one"))
    assert one.get("/readyz") == "ready\n"
    assert one.get("/livez") is not None
    wait_until("an old object is reported", lambda: cluster.message("ppol", "before") == "term 1")
    cluster.apply(objects.policy("after"))
    wait_until("a new object is reported", lambda: cluster.message("ppol", "after") == "term 1")
    assert one.metric("backstay_registry_objects") == 2
    series = (
        f'backstay_condition{{kind="ProtectionPolicy",name="after",'
        f'namespace="{cluster.namespace}",status="True",type="Ready"}}'
    )
    assert one.metric(series) == 1
    metadata = cluster.get("ppol", "after")["metadata"]
    assert "finalizers" not in metadata
    assert not [name for name in metadata.get("annotations", {}) if "kopf" in name]
    cluster.kubectl("delete", "ppol", "after")
    wait_until("it is forgotten", lambda: one.metric("backstay_registry_objects") == 1)
    assert one.metric(series) is None


def test_an_end_is_clean_quick_and_hands_the_lease_over(cluster: Cluster) -> None:
    cluster.apply(objects.policy())
    one = leading(cluster.start("one", BACKSTAY_LEASE_SECONDS="30"))
    wait_until("it acts", one.acts)
    began = time.monotonic()
    assert one.end(within_s=10) == 0
    assert time.monotonic() - began < 3
    assert cluster.lease() == ("", 1)
    assert one.acts()[-1]["key"] is None
    two = cluster.start("two", BACKSTAY_LEASE_SECONDS="30")
    assert wait_until("two leads", lambda: two.leads, within_s=20) < 20
    assert cluster.lease()[1] == 2


@pytest.mark.fault("two operators of one installation")
def test_of_two_operators_one_acts_and_the_other_is_ready(cluster: Cluster) -> None:
    cluster.apply(objects.policy())
    one = leading(cluster.start("one"))
    two = cluster.start("two")
    wait_until("two is ready", lambda: two.get("/readyz"))
    seen = len(one.acts())
    wait_until("the leader goes on for two Leases", lambda: len(one.acts()) > seen + 6 / 0.1)
    assert two.acts() == []
    assert two.metric("backstay_leader") == 0
    assert list(_conditions(two)) == []
    assert one.end(within_s=10) == 0
    wait_until("two acts", two.acts)
    assert {act["term"] for act in two.acts()} == {2}


def _is_free(port: int) -> bool:
    return not is_listening(port)


def _conditions(running: Running) -> list[str]:
    lines = (running.get("/metrics") or "").splitlines()
    return [line for line in lines if line.startswith("backstay_condition{")]


def test_a_killed_leader_is_followed_by_another(cluster: Cluster) -> None:
    cluster.apply(objects.policy())
    one = leading(cluster.start("one"))
    two = cluster.start("two")
    wait_until("two is ready", lambda: two.get("/readyz"))
    one.signal(signal.SIGKILL)
    wait_until("two acts", two.acts)
    assert cluster.lease()[1] == 2
    wait_until("it reports", lambda: cluster.message("ppol", "gold") in {"term 1", "term 2"})


@pytest.mark.fault("leader stopped for a minute and woken")
def test_a_stopped_leader_that_is_woken_changes_nothing(cluster: Cluster) -> None:
    cluster.apply(objects.policy())
    one = leading(cluster.start("one"))
    wait_until("one acts", one.acts)
    two = cluster.start("two")
    wait_until("two is ready", lambda: two.get("/readyz"))
    one.signal(signal.SIGSTOP)
    wait_until("two acts", two.acts)
    done = len(one.acts())
    taken = two.acts()[0]["at"]
    assert one.acts()[-1]["at"] < taken
    one.signal(signal.SIGCONT)
    wait_until("one has noticed", lambda: [a for a in one.acts() if a["key"] is None])
    assert [act for act in one.acts()[done:] if act["key"] is not None] == []
    wait_until("one is a follower", lambda: one.metric("backstay_leader") == 0)
    assert two.leads
    assert cluster.lease()[1] == 2


@pytest.mark.fault("API server down for a minute", "etcd compacted")
def test_an_api_server_that_is_down_for_long_ends_leadership_and_not_the_process(
    own_cluster: Cluster,
) -> None:
    own_cluster.apply(objects.policy("deleted"))
    one = leading(own_cluster.start("one"))
    wait_until("it reports", lambda: own_cluster.message("ppol", "deleted") == "term 1")
    one.signal(signal.SIGSTOP)
    own_cluster.kubectl("delete", "ppol", "deleted")
    own_cluster.apply(objects.policy("created"))
    own_cluster.plane.apiserver.kill()
    one.signal(signal.SIGCONT)
    wait_until("it acts no more", lambda: one.metric("backstay_leader") == 0)
    assert one.get("/livez") is not None
    assert one.get("/readyz") is not None
    # Its watches are behind what etcd still remembers, so that they get 410 Gone.
    own_cluster.plane.compact()
    own_cluster.plane.start()
    leading(one)
    wait_until(
        "what it missed is reported",
        lambda: own_cluster.message("ppol", "created") == "term 2",
        within_s=90,
    )
    wait_until(
        "the ghost is gone", lambda: one.metric("backstay_registry_objects") == 1, within_s=90
    )
    own_cluster.apply(objects.policy("later"))
    wait_until(
        "it still watches", lambda: own_cluster.message("ppol", "later") == "term 2", within_s=90
    )
    assert one.process.poll() is None


def test_without_its_kinds_it_ends_with_a_failure_and_a_new_one_waits_for_them(
    own_cluster: Cluster,
) -> None:
    one = leading(own_cluster.start("one"))
    own_cluster.apply(objects.policy())
    wait_until("it watches", lambda: own_cluster.message("ppol", "gold") == "term 1")
    own_cluster.empty()
    assert one.process.wait(60) == 1
    two = own_cluster.start("two")
    wait_until("it says what it waits for", lambda: "install the CRDs" in two.tail())
    assert two.get("/livez") is not None
    assert two.get("/readyz") is None
    install(own_cluster.plane)
    own_cluster.apply(objects.policy())
    leading(two)
    wait_until("it reports", lambda: own_cluster.message("ppol", "gold") == "term 1")


def test_the_charts_rights_are_enough_for_the_operator(own_cluster: Cluster) -> None:
    own_cluster.apply(objects.policy())
    kubeconfig = own_cluster.plane.operator_kubeconfig
    one = own_cluster.operators.start(
        own_cluster.plane, "one", kubeconfig, BACKSTAY_NAMESPACE=NAMESPACE
    )
    leading(one)
    wait_until("it reports", lambda: own_cluster.message("ppol", "gold") == "term 1")
    assert {json.loads(line)["level"] for line in one.tail().splitlines()} == {"info"}
    assert one.end(within_s=10) == 0


def test_settings_that_make_no_sense_are_said_and_end_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from backstay.app.main import main; main()"],
        env={"BACKSTAY_NAMESPACE": "UPPER", "BACKSTAY_HTTP_PORT": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "BACKSTAY_NAMESPACE" in done.stderr
    assert "BACKSTAY_HTTP_PORT" in done.stderr
    assert "Traceback" not in done.stderr
