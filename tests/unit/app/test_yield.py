"""`kubectl backstay yield` against a cluster in memory and fake hosts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from backstay.api.kinds import YIELD
from backstay.api.v1alpha1.yielding import YieldSpec, parse_yield
from backstay.app.cli import app
from backstay.plan.naming import short_id
from backstay.plan.room import RouteLook
from fakes.lab import Lab
from fakes.reader import FakeReader
from fakes.world import INSTALLATION
from fakes.yields import SOURCE, look, points


def stored(kube: FakeReader) -> dict[str, Any]:
    return next(b for b in kube.objects.values() if b["kind"] == "ReplicationPair")


def annotation(kube: FakeReader) -> YieldSpec | None:
    found = stored(kube)["metadata"].get("annotations", {}).get(YIELD)
    spec = None if found is None else parse_yield(found)
    assert not isinstance(spec, str), spec
    return spec


def renamed(one: RouteLook) -> RouteLook:
    """The lab's pair `dr/erp` is the cluster's `ns/erp`."""
    pairs = tuple(replace(p, key=p.key.replace("dr/", "ns/")) for p in one.task.pairs)
    return replace(one, task=replace(one.task, pairs=pairs))


def yields(kube: FakeReader, lab: Lab, *arguments: str, answer: str = "") -> Result:
    """The command ran over the lab's hosts, and its question was answered."""

    async def looked(name: str) -> Sequence[RouteLook]:
        return [renamed(one) for one in await look(lab, name)]

    tools = replace(kube.toolbox(), look=looked)
    return CliRunner().invoke(app, ("yield", "erp", *arguments), obj=tools, input=f"{answer}\n")


@pytest.fixture
def lab() -> Lab:
    made = Lab.make()
    asyncio.run(points(made))
    return made


@pytest.mark.rule("Room for a rollback")
def test_it_says_what_goes_and_what_remains_asks_and_binds_the_approval_to_that(
    kube: FakeReader, lab: Lab
) -> None:
    lab.a.snapshot(f"{SOURCE}@vzdump")
    done = yields(kube, lab, "--to", "snap1", answer="y")
    assert done.exit_code == 0, done.output
    ours = [s for s in lab.a.dataset(SOURCE).snapshots if s.name.startswith("backstay_")]
    for words in (
        *(f"GONE for good: @{s.name} (GUID {s.guid})" for s in ours[-2:]),
        "GONE for good: #backstay_",
        "IN THE WAY still: @vzdump is not ours",
        "keeps 2 points that the source will no longer have",
        "`kubectl backstay resolve erp -n ns --how SetAside` goes on",
        "`kubectl backstay explain erp -n ns`",
        f"goes on incrementally from @{ours[0].name} (GUID {ours[0].guid})",
    ):
        assert words in done.stdout
    spec = annotation(kube)
    assert spec is not None
    (member,) = spec.members
    assert member.snapshots == tuple(str(s.guid) for s in ours[-2:])
    assert member.targets[0].base == str(ours[0].guid)
    assert (spec.until - kube.clock.now()).total_seconds() == pytest.approx(900, abs=1)


def test_who_says_no_or_looks_only_approves_nothing(kube: FakeReader, lab: Lab) -> None:
    assert yields(kube, lab, "--to", "snap1", answer="n").exit_code == 1
    dry = yields(kube, lab, "--to", "snap1", "--dry-run")
    assert dry.exit_code == 0
    assert isinstance(parse_yield(dry.stdout.partition("not written: ")[2]), YieldSpec)
    assert annotation(kube) is None


@pytest.mark.rule("Room for a rollback")
def test_without_a_base_it_is_refused_with_the_number_and_the_next_step(
    kube: FakeReader, lab: Lab
) -> None:
    # The only point that both sides had up to the snapshot.
    lab.a.destroy(f"{SOURCE}@{lab.a.dataset(SOURCE).snapshots[0].name}")
    for mark in lab.a.dataset(SOURCE).bookmarks[:-2]:
        lab.a.destroy(f"{SOURCE}#{mark.name}")
    done = yields(kube, lab, "--to", "snap1", "--yes")
    assert done.exit_code == 1
    assert "refused: 1 of 1 targets would have no common base left" in done.stdout
    assert "--lose-base" in done.stdout
    assert annotation(kube) is None
    assert yields(kube, lab, "--to", "snap1", "--yes", "--lose-base").exit_code == 0
    spec = annotation(kube)
    assert spec is not None
    assert spec.members[0].targets[0].base is None


@pytest.mark.rule("Room for a rollback")
def test_the_points_of_another_installation_are_not_taken_for_ours_or_for_foreign(
    kube: FakeReader, lab: Lab
) -> None:
    async def looked(name: str) -> Sequence[RouteLook]:
        """As who forgot to say that the operator is not in the namespace of the pair."""
        seen = [renamed(one) for one in await look(lab, name)]
        other = short_id("ns/backstay")
        return [replace(one, task=replace(one.task, short_id=other)) for one in seen]

    tools = replace(kube.toolbox(), look=looked)
    done = CliRunner().invoke(app, ("yield", "erp", "--to", "snap1", "--yes"), obj=tools)
    assert done.exit_code == 1
    assert f"say --installation {INSTALLATION}" in done.stdout
    assert "IN THE WAY" not in done.stdout
    assert annotation(kube) is None


def test_programs_must_say_yes(kube: FakeReader, lab: Lab) -> None:
    shown = json.loads(yields(kube, lab, "--to", "snap1", "-o", "json").stdout)
    assert shown["written"] is False
    assert len(shown["members"][0]["snapshots"]) == 2
    assert annotation(kube) is None
    assert json.loads(yields(kube, lab, "-o", "json", "--yes").stdout)["written"] is True


@pytest.mark.parametrize(("rest", "code"), [("1h", 0), ("24h", 0), ("25h", 2), ("soon", 2)])
def test_it_rests_for_a_day_at_most(kube: FakeReader, lab: Lab, rest: str, code: int) -> None:
    assert yields(kube, lab, "--for", rest, "--dry-run").exit_code == code


def test_a_suspended_pair_and_an_unknown_snapshot_are_refused(kube: FakeReader, lab: Lab) -> None:
    done = yields(kube, lab, "--to", "nowhere", "--yes")
    assert done.exit_code == 1
    assert "has no snapshot @nowhere" in done.stdout
    stored(kube)["spec"]["suspend"] = True
    assert "suspended" in yields(kube, lab, "--yes").stdout
    assert annotation(kube) is None
