"""`kubectl backstay explain` against a cluster in memory."""

from __future__ import annotations

from pathlib import Path

from fakes import reported
from fakes.commandline import document, ran
from fakes.reader import FakeReader

EXPLAINED = """\
bad      ReplicationPair erp: Breached: RPOMet=False, Ready=Unknown;
         Unreachable: h1: no route to 192.0.2.1
good     operator: Lease backstay/backstay of pod-1, term 7, was renewed 2s ago
good     ProtectionPolicy gold: RPO 5m; a snapshot every 2m30s, half of the RPO;
         backup declared, not verified: nightly
good     Site a (source) host h1: reachable at 192.0.2.1, ZFS 2.3.2
bad      Site b (target) host h1: Unreachable: h1: no route to 192.0.2.1
good     members: 1 of 1 have a confirmed point
note     recovery point: backstay_20300101T000000.123Z_0badcafe1f2e, good as of
         2030-01-01T00:40:00Z; 12.0 MiB arrived in 4 s
bad      lag: 2030-01-01T01:00:00Z − 2030-01-01T00:40:00Z = 1200 s; RPO 300 s:
         exceeded by 900 s; 150 s of the lag are the interval, 1050 s are beyond
         it

next     Site b (target) host h1: Unreachable: h1: no route to 192.0.2.1
next     then: kubectl backstay sync erp -n ns --wait
"""


def test_explain_shows_the_chain_and_the_next_step(kube: FakeReader) -> None:
    away = ("Unreachable", "h1: no route to 192.0.2.1")
    kube.objects.clear()
    kube.put(reported.site("a"))
    kube.put(reported.site("b", trouble=away))
    kube.put(reported.policy())
    kube.put(reported.pair("erp", lag_s=1200, met="False", ready=("Unknown", *away)))
    done = ran(kube, "explain", "erp", COLUMNS="80")
    assert done.exit_code == 1
    assert done.stdout == EXPLAINED
    assert EXPLAINED in (Path(__file__).parents[3] / "docs" / "kubectl-backstay.md").read_text()
    assert [f["state"] for f in document(kube, "explain", "erp")["facts"]].count("bad") == 3


def test_explain_is_0_when_it_is_met_and_2_for_what_does_not_exist(kube: FakeReader) -> None:
    assert ran(kube, "explain", "erp").exit_code == 0
    done = ran(kube, "explain", "nope")
    assert done.exit_code == 2
    assert done.stderr == "ReplicationPair ns/nope: does not exist\n"
