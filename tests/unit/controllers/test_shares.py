"""Which pairs are on a route: found without looking at all of them, and never out of date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from backstay.api.words import Reason
from backstay.controllers import index as module
from backstay.controllers.book import Book
from backstay.controllers.hosts import HostFinder
from backstay.controllers.registry import Registry
from backstay.controllers.shares import Shares
from backstay.domain.pairs import Conflict, HostKey, PairState, Point, Route
from backstay.domain.zfs import Guid
from backstay.plan import claims
from backstay.plan.resolve import ResolvedPair, resolve_pair
from backstay.ports.host import Endpoint, HostPort
from fakes import objects
from fakes.clock import START, FakeClock
from fakes.kube import FakeKube
from fakes.objects import changed, pair, policy

PAIRS, SITES = 2000, 10
INTERVAL_S = 150.0
"""Of the policy: half of its RPO."""
ROUTES = [(a, b) for a in range(SITES) for b in range(SITES)]


class NoHosts:
    """A `HostDirectory` that nobody asks."""

    def open(self, endpoint: Endpoint) -> HostPort:
        raise AssertionError(endpoint)


def site(name: str, **metadata: Any) -> dict[str, Any]:
    """A Site whose host `h1` is a machine of its own."""
    return objects.site(name, address=f"{name}.example", **metadata)


def route(a: object, b: object) -> Route:
    """From a source site to a target site."""
    return Route(HostKey("ns", f"a{a}", "h1"), HostKey("ns", f"b{b}", "h1"))


def pair_on(number: int, a: object, b: object) -> dict[str, Any]:
    """A pair on `route(a, b)`."""
    body = pair(f"p{number}")
    at = body["spec"]["datasets"][0]["at"]
    body["spec"]["datasets"][0]["at"] = {f"a{a}": at["a"], f"b{b}": at["b"]}
    return changed(body, spec={"sites": [f"a{a}", f"b{b}"], "preferredSite": f"a{a}"})


def shares_of(*bodies: dict[str, Any]) -> Shares:
    registry = Registry()
    for body in bodies:
        registry.put(body["kind"], body)
    finder = HostFinder(registry, FakeKube(), NoHosts(), lambda: 1, FakeClock())
    return Shares(registry, finder, Book(), "0badcafe")


def confirmed(key: str, now: datetime) -> PairState:
    """What a pass finds that has confirmed a point as of now."""
    return PairState(
        key=key,
        members=(),
        point=Point(snapshot="s", guid=Guid(1), at=START),
        as_of=now,
        source_seen=True,
        target_seen=True,
    )


def names(shares: Shares, on: Route) -> list[str]:
    return [resolved.key for resolved in shares.on_route(on)]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the claims of each pair were judged."""
    counted: Counter[str] = Counter()
    judge = claims.refused_claims

    def count(found: Any, *args: Any) -> Any:
        counted.update(pair.metadata.name for pair in found)
        return judge(found, *args)

    monkeypatch.setattr(module, "refused_claims", count)
    return counted


@pytest.fixture
def resolutions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each pair was resolved."""
    counted: Counter[str] = Counter()
    resolve = resolve_pair

    def count(found: Any, *args: Any, **named: Any) -> Any:
        counted[found.metadata.name] += 1
        return resolve(found, *args, **named)

    monkeypatch.setattr(module, "resolve_pair", count)
    return counted


def test_a_round_over_all_routes_resolves_each_pair_once_and_the_next_none(
    resolutions: Counter[str],
) -> None:
    sites = [site(f"{side}{n}") for side in "ab" for n in range(SITES)]
    pairs = [pair_on(n, n % SITES, n // SITES % SITES) for n in range(PAIRS)]
    shares = shares_of(policy(), *sites, *pairs)

    def round_of_passes() -> None:
        for a, b in ROUTES:
            share = shares.due(route(a, b), START, 0.0)
            assert share is not None
            assert len(share.task.pairs) == PAIRS / len(ROUTES)
            assert shares.next_due(route(a, b), START, 0.0) is not None

    round_of_passes()
    assert set(resolutions.values()) == {1}
    assert len(resolutions) == PAIRS
    round_of_passes()
    assert resolutions.total() == PAIRS
    shares.registry.put("ReplicationPair", changed(pairs[0], spec={"consistencyGroup": True}))
    round_of_passes()
    assert resolutions.total() == PAIRS + 1


def test_a_change_is_judged_among_those_that_share_a_target_host(
    resolutions: Counter[str], judged: Counter[str]
) -> None:
    sites = [site(f"{side}{n}") for side in "ab" for n in range(SITES)]
    pairs = [pair_on(n, n % SITES, n // SITES % SITES) for n in range(PAIRS)]
    shares = shares_of(policy(), *sites, *pairs)
    assert isinstance(shares.resolve("ns", "p0"), ResolvedPair)
    assert judged.total() == resolutions.total() == PAIRS
    judged.clear()
    resolutions.clear()
    shares.registry.put("ReplicationPair", pair_on(PAIRS, 0, 0))
    assert isinstance(shares.resolve("ns", f"p{PAIRS}"), ResolvedPair)
    assert judged.total() == PAIRS / SITES + 1
    assert resolutions.total() == 1
    resolutions.clear()
    shares.registry.put("Site", changed(sites[0], spec={"timeZone": "Europe/Berlin"}))
    assert isinstance(shares.resolve("ns", "p0"), ResolvedPair)
    assert resolutions.total() == PAIRS / SITES + 1


def test_a_younger_claim_holds_as_soon_as_the_older_one_is_gone_or_elsewhere() -> None:
    """Also on another host: a pair that is refused claims nothing anywhere, until it is held."""
    old, wide, far = pair_on(1, 1, 1), pair_on(2, 1, 1), pair_on(3, 1, 1)
    for body, second, hosts in ((old, 1, ["h1"]), (wide, 2, ["h1", "h2"]), (far, 3, ["h2"])):
        body["metadata"]["creationTimestamp"] = f"2030-01-01T00:00:0{second}Z"
        body["spec"]["datasets"] = [
            {
                "name": host,
                "at": {
                    "a1": {"host": "h1", "dataset": f"tank/{second}/{host}"},
                    "b1": {"host": host, "dataset": "tank/same"},
                },
            }
            for host in hosts
        ]
    target = site("b1")
    target["spec"]["hosts"].append(
        {**target["spec"]["hosts"][0], "name": "h2", "address": "h2.example"}
    )
    shares = shares_of(policy(), site("a1"), target, old, wide, far)

    def held() -> list[str]:
        found = (f"p{n}" for n in (1, 2, 3))
        return [name for name in found if isinstance(shares.resolve("ns", name), ResolvedPair)]

    assert held() == ["p1", "p3"]
    drop("ReplicationPair", "p1")(shares)
    assert held() == ["p2"]
    assert names(shares, route(1, 1)) == ["ns/p2"]
    older = changed(old, uid="again", creationTimestamp="2029-01-01T00:00:00Z")
    shares.registry.put("ReplicationPair", older)
    assert held() == ["p1", "p3"]
    assert names(shares, route(1, 1)) == ["ns/p1"]


def put(kind: str, body: dict[str, Any]) -> Callable[[Shares], object]:
    return lambda shares: shares.registry.put(kind, body)


def drop(kind: str, name: str) -> Callable[[Shares], object]:
    def gone(shares: Shares) -> None:
        found = next(e for e in shares.registry.entries(kind) if e.ref.name == name)
        assert shares.registry.drop(found.ref)

    return gone


def turn_round(shares: Shares) -> None:
    shares.book.active_site["ns/p1"] = "b1"


P1, P2 = pair_on(1, 1, 1), pair_on(2, 1, 1)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (put("ReplicationPair", changed(P1, spec={"suspend": True})), ["ns/p2"]),
        (
            put("ReplicationPair", changed(P1, deletionTimestamp="2030-01-01T00:00:00Z")),
            ["ns/p2"],
        ),
        (drop("ReplicationPair", "p1"), ["ns/p2"]),
        (put("ReplicationPair", pair_on(3, 1, 1)), ["ns/p1", "ns/p2", "ns/p3"]),
        (turn_round, ["ns/p2"]),
        (drop("Site", "b1"), []),
        (drop("ProtectionPolicy", "gold"), []),
    ],
)
def test_whatever_changes_the_pairs_of_a_route_are_those_of_now(
    change: Callable[[Shares], object], left: list[str]
) -> None:
    shares = shares_of(policy(), site("a1"), site("b1"), P1, P2)
    assert names(shares, route(1, 1)) == ["ns/p1", "ns/p2"]
    change(shares)
    assert names(shares, route(1, 1)) == left
    turned = names(shares, Route(route(1, 1).target, route(1, 1).source))
    assert turned == (["ns/p1"] if change is turn_round else [])


def test_what_is_on_the_route_is_the_pair_as_edited() -> None:
    """A new interval counts from the edit on."""
    shares = shares_of(policy(), site("a1"), site("b1"), P1)
    (before,) = shares.on_route(route(1, 1))
    shares.registry.put("ProtectionPolicy", changed(policy(), spec={"rpo": "10m"}))
    (after,) = shares.on_route(route(1, 1))
    assert isinstance(before, ResolvedPair)
    assert (before.rpo_s, after.rpo_s) == (300, 600)


def test_routes_that_begin_together_part_and_then_keep_their_interval() -> None:
    """A leader begins with all routes at once; in step they would wait for each other for ever."""
    sites = [site(f"{side}{n}") for side in "ab" for n in range(SITES)]
    pairs = [pair_on(n, a, b) for n, (a, b) in enumerate(ROUTES)]
    shares = shares_of(policy(), *sites, *pairs)

    def next_after_a_pass(on: Route, at_s: float) -> float:
        now = START + timedelta(seconds=at_s)
        share = shares.due(on, now, at_s)
        assert share is not None
        shares.book.record(on, [confirmed(task.key, now) for task in share.task.pairs], at_s)
        shares.passed(on, share)
        again = shares.next_due(on, now, at_s)
        assert again is not None
        return again.in_s

    first = {on: next_after_a_pass(on, 0.0) for on in (route(a, b) for a, b in ROUTES)}
    assert max(first.values()) <= INTERVAL_S
    assert {int(in_s / INTERVAL_S * 10) for in_s in first.values()} == set(range(10))
    for on, in_s in first.items():
        assert next_after_a_pass(on, in_s) == INTERVAL_S


def test_a_pass_knows_what_else_is_asked_of_its_source_host() -> None:
    """Of a suspended pair, too: its data stays."""
    shares = shares_of(
        policy(),
        *map(site, ("a1", "a2", "b1", "b2")),
        P1,
        pair_on(3, 1, 2),
        changed(pair_on(4, 1, 1), spec={"suspend": True}),
        changed(pair_on(5, 1, 1), deletionTimestamp="2030-01-01T00:00:00Z"),
        pair_on(6, 2, 1),
    )
    share = shares.due(route(1, 1), START, 0.0)
    assert share is not None
    assert [p.key for p in share.task.pairs] == ["ns/p1"]
    assert [p.key for p in share.task.neighbours] == ["ns/p3", "ns/p4"]


def at_one_address(number: int, name: str, **metadata: Any) -> dict[str, Any]:
    """A Site whose host `h1` is machine `number`."""
    return objects.site(name, address=f"Host{number}.example", **metadata)


def test_what_is_asked_of_a_machine_is_found_by_each_of_its_names() -> None:
    """Two namespaces name it, until one of them gives it another address."""
    sites = [
        at_one_address(n, name, namespace=namespace)
        for namespace in ("ns", "other")
        for n, name in enumerate(("a1", "b1"))
    ]
    late = pair_on(1, 1, 1)
    late["metadata"].update(namespace="other", creationTimestamp="2031-01-01T00:00:00Z")
    late["spec"]["datasets"][0]["at"]["b1"]["dataset"] += "-late"
    shares = shares_of(policy(), policy(namespace="other"), *sites, P1, late)
    source = route(1, 1).source
    assert [task.key for _, task in shares.at_source(source)] == ["ns/p1", "other/p1"]
    assert [task.key for task in shares.neighbours(route(1, 1), {"ns/p1"})] == ["other/p1"]

    same = changed(late, spec={"datasets": P1["spec"]["datasets"]})
    shares.registry.put("ReplicationPair", same)
    refused = shares.resolve("other", "p1")
    assert isinstance(refused, Conflict)
    assert refused.reason == Reason.DATASET_CLAIMED

    shares.registry.put("Site", at_one_address(3, "b1", namespace="other"))
    assert isinstance(shares.resolve("other", "p1"), ResolvedPair)
    shares.registry.put("Site", at_one_address(2, "a1", namespace="other"))
    assert [task.key for _, task in shares.at_source(source)] == ["ns/p1"]
