"""`kubectl backstay resolve`: says what a decision costs, asks, and writes the approval."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backstay.api.kinds import RESOLVE
from backstay.api.v1alpha1.approval import ApprovalSpec
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.app.commands.cluster import Cluster
from backstay.app.commands.screen import Screen
from backstay.domain.divergence import Resolution
from backstay.report.approval import Chosen, approval_of, choose, consequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was typed. `members` empty: all that diverged. `yes`: nobody is asked."""

    pair: str
    how: Resolution
    members: Sequence[str] = ()
    yes: bool = False
    dry_run: bool = False


async def resolve_pair(cluster: Cluster, screen: Screen, wanted: Wanted) -> int:
    """The approval is in the pair's annotation; 0 then, or when `dry_run` has shown it, else 1."""
    pair = await cluster.pair(wanted.pair)
    chosen = choose(pair.status.diverged, wanted.how, wanted.members)
    approval = approval_of(chosen, wanted.how, secrets.token_hex(8)) if chosen.members else None
    if not screen.is_json:
        _show(screen, pair, wanted, chosen)
    is_written = False
    if (
        approval is not None
        and not wanted.dry_run
        and screen.agreed(f"{wanted.how} as shown?", yes=wanted.yes)
    ):
        await cluster.approve(pair, approval, of=RESOLVE)
        is_written = True
    if screen.is_json:
        screen.document(resolve_document(pair, wanted, chosen, approval, written=is_written))
    else:
        _conclude(screen, pair, wanted, approval, is_written)
    return 0 if is_written or (approval is not None and wanted.dry_run) else 1


def _show(screen: Screen, pair: ReplicationPair, wanted: Wanted, chosen: Chosen) -> None:
    for member in chosen.members:
        screen.line(f"{member.member}: {member.reason}: {member.dataset} (GUID {member.guid})")
        for said in consequences(member, wanted.how):
            screen.line(f"  {said}", "bad" if said.startswith("LOST") else None)
        for point in member.ahead:
            screen.line(f"  newer at the source: {point.name} (GUID {point.guid})")
    for name, why in chosen.left_out.items():
        screen.line(f"{name}: {why}", "warn")
    if not chosen.members and not chosen.left_out:
        screen.line(f"{pair.metadata.name}: nothing waits for a decision")


def _conclude(
    screen: Screen,
    pair: ReplicationPair,
    wanted: Wanted,
    approval: ApprovalSpec | None,
    is_written: bool,
) -> None:
    if approval is None:
        return
    if is_written:
        screen.line(
            f"approved as {approval.id}, for exactly this list; the operator's next pass does it "
            f"(`kubectl backstay explain {wanted.pair} -n {pair.metadata.namespace}`)"
        )
    elif wanted.dry_run:
        screen.line(f"not written: {json.dumps(approval.document())}")
    else:
        screen.line("nothing was approved")


def resolve_document(
    pair: ReplicationPair,
    wanted: Wanted,
    chosen: Chosen,
    approval: ApprovalSpec | None,
    *,
    written: bool,
) -> dict[str, Any]:
    """The same for programs; its fields stay."""
    return {
        "pair": f"{pair.metadata.namespace}/{pair.metadata.name}",
        "how": str(wanted.how),
        "members": [
            {**member.document(), "consequences": consequences(member, wanted.how)}
            for member in chosen.members
        ],
        "leftOut": chosen.left_out,
        "approval": None if approval is None else approval.document(),
        "written": written,
    }
