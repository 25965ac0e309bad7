"""Steps of roles and promotion → bodies of requests."""

from __future__ import annotations

from backstay.domain import roles
from backstay_host import protocol as wire


def halt(step: roles.HaltReceives) -> wire.Halt:
    """The body of `halt`."""
    return wire.Halt(datasets=list(step.datasets))


def swap_roles(step: roles.SwapRoles) -> wire.SwapRoles:
    """The body of `roles`."""
    return wire.SwapRoles(
        members=[
            wire.RoleChange(dataset=c.dataset, guid=c.guid, role=c.found.role, epoch=c.found.epoch)
            for c in step.changes
        ],
        role=step.to.role,
        epoch=step.to.epoch,
    )


def set_readonly(step: roles.SetReadonly) -> wire.SetReadonly:
    """The body of `readonly`."""
    targets = [wire.Named(dataset=name, guid=guid) for name, guid in step.datasets]
    return wire.SetReadonly(targets=targets, on=step.on)


def open_promoted(step: roles.OpenPromoted) -> wire.OpenPromoted:
    """The body of `open`."""
    return wire.OpenPromoted(
        targets=[
            wire.Opening(dataset=name, guid=guid, thick=thick) for name, guid, thick in step.targets
        ],
        epoch=step.epoch,
    )


def discard_clones(step: roles.DiscardClones) -> wire.DiscardClones:
    """The body of `discard`."""
    return wire.DiscardClones(
        clones=[
            wire.DoomedClone(
                dataset=c.dataset,
                guid=c.guid,
                origin=c.origin.full_name,
                origin_guid=c.origin.guid,
            )
            for c in step.clones
        ]
    )
