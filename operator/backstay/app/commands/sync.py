"""`kubectl backstay sync`: has a pair looked at now, and follows that to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TextColumn,
)
from rich.progress import Progress as Bar

from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.app.commands.cluster import Cluster, NotFound, parsed
from backstay.app.commands.screen import Screen, printable
from backstay.domain.errors import Unreachable
from backstay.report.ages import age_text
from backstay.report.inventory import Unreadable
from backstay.report.leader import Leader
from backstay.report.request import Phase, Progress, progress_document, progress_of

LOOK_S = 1.0
"""A pass of one changed dataset takes seconds, and one GET costs the API server nothing."""
Tell = Callable[[Progress, float], None]
"""Called with how far it has come, and the seconds since the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How following a request ended."""

    progress: Progress
    elapsed_s: float
    timed_out: bool


async def sync_pair(cluster: Cluster, screen: Screen, name: str, wait_s: float | None) -> int:
    """The pair was asked to be looked at and, with `wait_s`, followed until it was.

    0 when it is Ready then (without `wait_s`: when it was asked), else 1.
    """
    assert cluster.namespace is not None
    await cluster.pair(name)
    value = cluster.clock.now().isoformat(timespec="microseconds")
    body = await cluster.kube.request_look("ReplicationPair", cluster.namespace, name, value)
    asked = parsed(ReplicationPair, body)
    if isinstance(asked, Unreadable):
        raise NotFound(f"ReplicationPair {cluster.namespace}/{name}: {asked.why}")
    leader = await cluster.leader(cluster.namespace)
    if wait_s is None:
        shown = progress_of(asked, asked, leader, cluster.clock.now())
        if screen.is_json:
            screen.document(progress_document(shown, value, timed_out=False))
        else:
            screen.line(f"asked for a look at {shown.pair.key}: {shown.says}")
        return 0
    with _telling(screen) as tell:
        end = await _follow(cluster, (asked, leader), wait_s, tell)
    return await _conclude(cluster, screen, value, end)


async def _follow(
    cluster: Cluster, begun: tuple[ReplicationPair, Leader], wait_s: float, tell: Tell
) -> End:
    """Looks once a second; an API server that is away for a while is waited for."""
    asked, leader = begun
    began_s = cluster.clock.monotonic_s()
    after = asked
    while True:
        # When nothing was learnt, what was seen last stays on the screen while its age grows.
        with suppress(Unreachable):
            after = await cluster.pair(asked.metadata.name)
        if after.metadata.uid != asked.metadata.uid:
            raise NotFound(f"{asked.metadata.name} was deleted and is another object now")
        elapsed_s = cluster.clock.monotonic_s() - began_s
        shown = progress_of(asked, after, leader, cluster.clock.now())
        tell(shown, elapsed_s)
        is_handled = shown.phase == Phase.HANDLED
        if is_handled or elapsed_s >= wait_s:
            return End(progress=shown, elapsed_s=elapsed_s, timed_out=not is_handled)
        await cluster.clock.sleep(min(LOOK_S, wait_s - elapsed_s))


async def _conclude(cluster: Cluster, screen: Screen, value: str, end: End) -> int:
    shown, pair = end.progress, end.progress.pair
    good = not end.timed_out and pair.ready == "True"
    if screen.is_json:
        screen.document(progress_document(shown, value, timed_out=end.timed_out))
        return 0 if good else 1
    after = f"after {age_text(end.elapsed_s)}"
    if end.timed_out:
        leader = await cluster.leader(pair.namespace)
        still = "is still being sent" if shown.phase == Phase.SENDING else "was not handled"
        says = shown.says if shown.bar is None else f"{shown.says}; {shown.bar.says}"
        screen.line(f"{pair.key} {still} {after}: {says}", "bad")
        screen.line(f"Ready={pair.ready}, {pair.reason}: {pair.why}")
        if leader.leads is not True:
            screen.line(f"{leader.says}: {leader.next_step}")
    else:
        screen.line(f"{pair.key} was handled {after}: {shown.says}")
        if not good:
            screen.line(f"Ready={pair.ready}, {pair.reason}: {pair.why}", "bad")
    return 0 if good else 1


@contextmanager
def _telling(screen: Screen) -> Iterator[Tell]:
    """A spinner, and a bar while status tells of streams, where somebody looks.

    Else a line on standard error whenever the phase changes, or status tells of streams anew.
    """
    if screen.err.is_terminal and not screen.is_json:
        words = TextColumn("{task.description}", markup=False)
        # It pulses while nothing is known of its length.
        columns = (SpinnerColumn(), BarColumn(bar_width=12), words)
        with Bar(*columns, console=screen.err, transient=True) as bar:
            task = bar.add_task("", total=None)

            def turn(shown: Progress, elapsed_s: float) -> None:
                far = shown.bar
                said = shown.says if far is None else far.says
                bar.update(
                    task,
                    description=printable(f"{age_text(elapsed_s)}  {shown.phase}: {said}"),
                    completed=0 if far is None else far.moved_bytes,
                    total=None if far is None else far.expected_bytes,
                    refresh=True,
                )

            yield turn
        return
    told: list[tuple[Phase, object]] = []

    def say(shown: Progress, elapsed_s: float) -> None:
        news = shown.phase, shown.transfer and shown.transfer.time
        if not screen.is_json and told[-1:] != [news]:
            told.append(news)
            said = shown.says if shown.bar is None else f"{shown.says}; {shown.bar.says}"
            screen.complain(f"{age_text(elapsed_s)}  {shown.phase}: {said}")

    yield say
