"""Events are for turns, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.report.events import turns


def status(**conditions: str) -> dict[str, Any]:
    """`Ready="True/UpToDate"` and so on."""
    return {
        "conditions": [
            {"type": kind, "status": said.split("/")[0], "reason": said.split("/")[1]}
            for kind, said in conditions.items()
        ]
    }


@pytest.mark.parametrize(
    ("old", "new", "event"),
    [
        ({}, {"Ready": "True/UpToDate"}, None),
        ({}, {"Ready": "False/NoZfs"}, ("Warning", "NoZfs")),
        ({}, {"Ready": "Unknown/WaitingForFirstPoint"}, None),
        ({}, {"Ready": "Unknown/NeverObserved"}, None),
        ({"Ready": "True/UpToDate"}, {"Ready": "True/UpToDate"}, None),
        ({"Ready": "True/UpToDate"}, {"Ready": "True/Valid"}, None),
        ({"Ready": "True/UpToDate"}, {"Ready": "Unknown/Timeout"}, ("Warning", "Timeout")),
        ({"Ready": "Unknown/Timeout"}, {"Ready": "False/NoZfs"}, ("Warning", "NoZfs")),
        ({"Ready": "Unknown/Timeout"}, {"Ready": "True/UpToDate"}, ("Normal", "UpToDate")),
        ({"Ready": "False/Seeding"}, {"Ready": "True/UpToDate"}, ("Normal", "UpToDate")),
        ({"RPOMet": "Unknown/NeverObserved"}, {"RPOMet": "False/Seeding"}, None),
        ({"Protected": "True/Confirmed"}, {"Protected": "False/Seeding"}, ("Normal", "Seeding")),
        ({"Ready": "Unknown/NeverObserved"}, {"Ready": "False/Seeding"}, ("Normal", "Seeding")),
        ({"Ready": "Unknown/NeverObserved"}, {"Ready": "True/Reachable"}, None),
        ({"Ready": "Unknown/NeverObserved"}, {"Ready": "False/NoZfs"}, ("Warning", "NoZfs")),
        ({}, {"HostsReachable": "False/Unreachable"}, None),
        ({}, {"PoolsHealthy": "Unknown/Unreachable"}, None),
        ({}, {"PoolsHealthy": "False/PoolDegraded"}, ("Warning", "PoolDegraded")),
        ({}, {"Stalled": "True/SiteMissing"}, ("Warning", "SiteMissing")),
        ({"Stalled": "True/SiteMissing"}, {}, ("Normal", "StalledEnded")),
        ({}, {"Suspended": "True/Suspended"}, ("Normal", "Suspended")),
        ({"Suspended": "True/Suspended"}, {}, ("Normal", "SuspendedEnded")),
        ({}, {"AtRisk": "True/TransferSlow"}, ("Warning", "TransferSlow")),
        (
            {"AtRisk": "True/TransferSlow"},
            {"AtRisk": "True/TransferStalled"},
            ("Warning", "TransferStalled"),
        ),
        ({"AtRisk": "True/TransferStalled"}, {}, ("Normal", "AtRiskEnded")),
        ({}, {"ClocksAgree": "True/ClocksRight"}, None),
        ({"ClocksAgree": "Unknown/NeverObserved"}, {"ClocksAgree": "True/ClocksRight"}, None),
        (
            {"ClocksAgree": "True/ClocksRight"},
            {"ClocksAgree": "False/ClockOff"},
            ("Warning", "ClockOff"),
        ),
        ({}, {"Reconciling": "True/Seeding"}, None),
        ({"Reconciling": "True/Seeding"}, {}, None),
        ({}, {"Achievable": "Unknown/NotMeasured"}, None),
        ({"Achievable": "Unknown/NotMeasured"}, {"Achievable": "True/PassesFit"}, None),
        (
            {"Achievable": "Unknown/NotMeasured"},
            {"Achievable": "False/PassesTooLong"},
            ("Warning", "PassesTooLong"),
        ),
        (
            {"Achievable": "False/PassesTooLong"},
            {"Achievable": "True/PassesFit"},
            ("Normal", "PassesFit"),
        ),
        ({"RPOMet": "True/WithinRPO"}, {"RPOMet": "False/RPOBreached"}, ("Warning", "RPOBreached")),
    ],
)
def test_a_turn_makes_one_event(
    old: dict[str, str], new: dict[str, str], event: tuple[str, str] | None
) -> None:
    found = [(turn.type, turn.reason) for turn in turns(status(**old), status(**new))]
    assert found == ([] if event is None else [event])


def test_the_message_names_the_condition() -> None:
    new = status(Ready="False/NoZfs")
    new["conditions"][0]["message"] = "pve1: no zfs command"
    assert turns({}, new)[0].message == "Ready=False: pve1: no zfs command"
