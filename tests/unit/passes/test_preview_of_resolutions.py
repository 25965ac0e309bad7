"""A preview of a decision shows, round by round, the commands that the operator then runs."""

from __future__ import annotations

import json

import pytest

from backstay.act.resolution import carry_out
from backstay.api.kinds import RESOLVE
from backstay.api.v1alpha1.replicationpair import ReplicationPairStatus
from backstay.app.preview_resolution import as_if_resolved
from backstay.domain.divergence import Resolution
from backstay.domain.pairs import RouteObservation, RouteTask
from backstay.domain.zfs import HostListing
from backstay.observe.route import observe_route, read_target
from backstay.plan.replication import Seen, see_route
from backstay.plan.resolution import plan_round
from backstay.plan.resolve import ResolvedPair
from backstay.report.approval import approval_of, choose
from fakes.core import NAMESPACE
from fakes.lab import Lab
from fakes.world import SHORT_ID


async def _tree_that_is_ahead(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 9}, "target": {"last": 9}})
    for name in ("tank/fs", "tank/fs/a"):
        lab.a.create(name)
        lab.a.write(name, 4096)
    lab.core.pair("erp", {"fs": ("tank/fs", "backup/backstay/fs")}, recursive=True)
    await lab.core.live(300)
    first = lab.a.dataset("tank/fs").snapshots[0].name
    lab.a.write("tank/fs", 1 << 20)
    await lab.core.live(300)
    lab.a.rollback(f"tank/fs@{first}")
    await lab.core.live(200)


async def look(lab: Lab) -> Seen:
    resolved = lab.core.shares.resolve(NAMESPACE, "erp")
    assert isinstance(resolved, ResolvedPair)
    ((route, share),) = resolved.shares.items()
    task = RouteTask(
        source_host=str(route.source),
        target_host=str(route.target),
        receive_roots=("backup/backstay",),
        short_id=SHORT_ID,
        pairs=(share,),
    )
    observation = await observe_route(task, lab.a.port(), lab.b.port(), lab.core.clock)
    seen = see_route(task, observation)
    assert seen is not None
    return seen


def seen_with(seen: Seen, target: HostListing, lab: Lab) -> Seen:
    now = lab.world.now
    observation = RouteObservation(source=seen.source, target=target, synced_at=now)
    after = see_route(seen.task, observation)
    assert after is not None
    return after


@pytest.mark.rule("Honest dry run")
@pytest.mark.parametrize("how", [Resolution.SET_ASIDE, Resolution.ROLLBACK])
async def test_a_preview_names_the_commands_of_every_round(lab: Lab, how: Resolution) -> None:
    await _tree_that_is_ahead(lab)
    status = ReplicationPairStatus.model_validate(dict(lab.core.status("erp")))
    approval = approval_of(choose(status.diverged, how), how, "a1b2c3d4")
    lab.core.annotate("ReplicationPair", "erp", RESOLVE, json.dumps(approval.document()))

    seen, dry = await look(lab), lab.b.port().dry_run()
    while (planned := plan_round(seen, ())) is not None:
        assert await carry_out(dry, planned) == {}
        seen = seen_with(seen, as_if_resolved(seen.target, planned), lab)
    previewed = seen.target

    seen, real = await look(lab), lab.b.port()
    lab.b.commands.clear()
    while (planned := plan_round(seen, ())) is not None:
        assert await carry_out(real, planned) == {}
        seen = seen_with(seen, await read_target(real, seen.task), lab)
    assert dry.commands == lab.b.commands
    assert lab.b.commands
    names = {n: [s.name for s in d.snapshots] for n, d in seen.target.datasets.items()}
    shown = {n: [s.name for s in d.snapshots] for n, d in previewed.datasets.items()}
    root = {"backup/backstay-aside": list[str]()}
    assert shown | root == names | root
