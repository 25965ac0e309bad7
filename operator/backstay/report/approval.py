"""From what a pair's status says of diverged members to an approval of it, and what that costs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from backstay.api.v1alpha1.approval import ApprovalSpec, ApprovedMember
from backstay.api.v1alpha1.replicationpair import DivergedMember
from backstay.domain.divergence import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Members that a resolution is for, and why others are not among them, by name."""

    members: tuple[DivergedMember, ...]
    left_out: dict[str, str]


def choose(
    diverged: Sequence[DivergedMember], how: Resolution, only: Collection[str] = ()
) -> Chosen:
    """Those members (of `only`, if any are named) for which this can be approved."""
    left_out = {name: "is not diverged" for name in only}
    members = []
    for member in diverged:
        if only and member.member not in only:
            continue
        left_out.pop(member.member, None)
        if how not in member.offers:
            offers = ", ".join(member.offers) or "nothing"
            left_out[member.member] = f"{how} is not on offer; what is: {offers}"
        elif member.lose_count > len(member.lose):
            left_out[member.member] = (
                f"has {member.lose_count} points since its base, of which the status names "
                f"{len(member.lose)}: nobody can approve of a list that is not whole"
            )
        else:
            members.append(member)
    return Chosen(members=tuple(members), left_out=left_out)


def approval_of(chosen: Chosen, how: Resolution, approval_id: str) -> ApprovalSpec:
    """The approval of exactly what the members show; `approval_id` is fresh."""
    return ApprovalSpec(
        id=approval_id,
        how=how.value,
        members=tuple(
            ApprovedMember(
                dataset=member.dataset,
                guid=member.guid,
                base=None if member.base is None else member.base.guid,
                lose=tuple(point.guid for point in member.lose),
                written_bytes=member.written_bytes,
            )
            for member in chosen.members
        ),
    )


def consequences(member: DivergedMember, how: Resolution) -> list[str]:
    """What becomes of the member, a line each; what is lost is said first, point by point."""
    base = "no common point" if member.base is None else f"{member.base.name}"
    points = [f"{point.name} (GUID {point.guid})" for point in member.lose]
    written = "" if not member.written_bytes else f"{member.written_bytes} bytes written since"
    beyond = [*points, *([written] if written else [])]
    match how:
        case Resolution.ROLLBACK:
            lost = [f"LOST for good: {what}" for what in beyond]
            return [*lost, f"{member.dataset} goes back to {base} (GUID {_guid(member)})"]
        case Resolution.SET_ASIDE:
            kept = [f"kept aside: {what}" for what in beyond]
            return [
                *kept,
                f"{member.dataset} goes on from {base} (GUID {_guid(member)}); nothing is lost",
            ]
        case Resolution.RESEED:
            return [
                f"kept aside as a whole: {member.dataset} (GUID {member.guid})",
                f"{member.source} is sent in full, which needs its space once more",
            ]
        case Resolution.ADOPT:
            return [
                f"{member.dataset} (GUID {member.guid}) becomes the replica of {member.source}, "
                f"read only, from {base} (GUID {_guid(member)}) on",
                "make sure that nothing uses it",
            ]


def _guid(member: DivergedMember) -> str:
    return "none" if member.base is None else member.base.guid
