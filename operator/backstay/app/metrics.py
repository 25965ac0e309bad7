"""The metrics of one process, in a registry of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backstay.controllers.keys import Key
from backstay.domain.pairs import Route
from backstay.ports.clock import Clock
from backstay.report.metrics import View, samples

PREFIX = "backstay_"
# A pass with nothing to do takes 0.2 s, a seed of a terabyte some hours.
PASS_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
LATE_BUCKETS_S = (0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
AT_A_TIME = 200
"""Objects whose samples are collected before others get their turn."""
_OF_A_PAIR = ("namespace", "pair")
_FAMILIES = {
    "recovery_point_lag_seconds": (
        "Age of what can be recovered; no series while it is unknown.",
        _OF_A_PAIR,
    ),
    "rpo_target_seconds": ("The RPO that a pair is judged by.", _OF_A_PAIR),
    "transfer_moved_bytes": (
        "How much of a pair has moved in the streams under way; no series while they are short.",
        _OF_A_PAIR,
    ),
    "transfer_expected_bytes": (
        "How much will have moved, about, when they have ended.",
        _OF_A_PAIR,
    ),
    "transfer_bytes_per_second": ("Their rate over the last half minute.", _OF_A_PAIR),
    "condition": (
        "1 for the status that a condition has.",
        ("kind", "namespace", "name", "type", "status"),
    ),
}


class _Collected(Collector):
    """Families whose samples are there already."""

    def __init__(self, families: Collection[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        return self._families


class ObjectMetrics:
    """Computes the series of objects when they are scraped, so that a lag is never old."""

    def __init__(self, views: Callable[[], Iterable[View]], clock: Clock) -> None:
        self._views = views
        self._clock = clock

    async def text(self) -> bytes:
        """The families with a sample for each object, in the text format of Prometheus.

        10,000 pairs take a second: samples are collected by turns with all else, and become text
        in a thread.
        """
        families = {
            name: GaugeMetricFamily(PREFIX + name, said, labels=labels)
            for name, (said, labels) in _FAMILIES.items()
        }
        for number, view in enumerate(self._views(), start=1):
            for sample in samples([view], self._clock.now()):
                families[sample.name].add_metric(sample.labels, sample.value)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        collected = CollectorRegistry(auto_describe=False)
        collected.register(_Collected(families.values()))
        return await asyncio.to_thread(generate_latest, collected)


class Metrics:
    """Counts what happens; knows the rest when it is asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._objects: ObjectMetrics | None = None
        ProcessCollector(registry=self.registry)
        self._passes = Histogram(
            PREFIX + "pass_duration_seconds",
            "Duration of the work on a route or an object.",
            ["of"],
            buckets=PASS_BUCKETS_S,
            registry=self.registry,
        )
        self._late = Histogram(
            PREFIX + "pass_lateness_seconds",
            "How long after its due time the work on a route or an object began.",
            ["of"],
            buckets=LATE_BUCKETS_S,
            registry=self.registry,
        )
        self._requests = Counter(
            PREFIX + "host_requests",
            "Requests to hosts.",
            ["request"],
            registry=self.registry,
        )
        self._writes = Counter(
            PREFIX + "kube_writes",
            "Writes to the Kubernetes API that were tried.",
            ["verb", "reason"],
            registry=self.registry,
        )
        self._faults = Counter(
            PREFIX + "faults",
            "Faults of backstay itself that ended the work on an object; please report them.",
            ["kind"],
            registry=self.registry,
        )

    def gauge(self, name: str, said: str, value: Callable[[], float]) -> None:
        """A series whose value is asked for at each scrape."""
        Gauge(PREFIX + name, said, registry=self.registry).set_function(value)

    def objects(self, views: Callable[[], Iterable[View]], clock: Clock) -> None:
        """The series of objects are part of each scrape."""
        self._objects = ObjectMetrics(views, clock)

    def count_write(self, verb: str, reason: str) -> None:
        """One more write to the Kubernetes API was tried."""
        self._writes.labels(verb=verb, reason=reason).inc()

    def count_request(self, _host: str, request: str) -> None:
        """One more request was sent to a host."""
        self._requests.labels(request=request).inc()

    def count_fault(self, kind: str) -> None:
        """One more fault of ours ended the work on an object of the kind."""
        self._faults.labels(kind=kind).inc()

    def run_started(self, key: Key, late_s: float) -> None:
        """Work on the key has started so late."""
        self._late.labels(of=_work(key)).observe(late_s)

    def run_ended(self, key: Key, duration_s: float) -> None:
        """Work on the key has ended after so long."""
        self._passes.labels(of=_work(key)).observe(duration_s)

    async def text(self) -> bytes:
        """All series, in the text format of Prometheus."""
        found = generate_latest(self.registry)
        return found if self._objects is None else found + await self._objects.text()


def _work(key: Key) -> str:
    return "route" if isinstance(key, Route) else "object"
