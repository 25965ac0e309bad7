"""Kopf: it watches, and hands every event to the edge. It writes nothing, ever."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any

import kopf

# Not public, but nothing public says which kinds Kopf has found.
from kopf._cogs.structs.references import Insights

from backstay.api.kinds import GROUP, VERSION
from backstay.api.v1alpha1 import KINDS
from backstay.ports.kube import Body

Receive = Callable[[str, str | None, Body], None]

BACKOFFS_S = (1, 1, 2, 3, 5, 8, 13, 21, 34)
BACKOFF_CAP_S = 60.0
PAGE = 500
REQUEST_S = 30.0
# Load balancers cut streams at ten minutes or later; the watch goes on where it was.
WATCH_S = 600


class Backoffs:
    """Endless, so that no outage ends the watch; with jitter, so that replicas do not march."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def __iter__(self) -> Iterator[float]:
        """Pauses in seconds, from the start for each request."""
        for pause in BACKOFFS_S:
            yield pause * self._dice.uniform(0.7, 1.0)
        while True:
            yield BACKOFF_CAP_S * self._dice.uniform(0.5, 1.0)


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps nothing: only handlers of changes ask for it, and there are none.

    Kopf builds it for every event all the same, by a deep copy of the object: half of its time.
    """

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """Nothing of the object."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing was stored."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is stored."""


class KopfWatch:
    """Kopf in a thread and an event loop of its own.

    It cancels every task of its loop when it ends, and takes seconds of CPU for the first list of
    10,000 objects: neither may touch passes or the renewal of the Lease.
    """

    def __init__(self, receive: Receive, namespaces: Collection[str], kubeconfig: str) -> None:
        self._receive = receive
        self._namespaces = sorted(namespaces)
        self._kubeconfig = kubeconfig
        self._stop = threading.Event()
        self._main: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    def start(self) -> asyncio.Future[None]:
        """Events arrive at the running loop from now on; the future ends when Kopf does."""
        self._main = asyncio.get_running_loop()
        self._ended = self._main.create_future()
        # A daemon: it may hang in a request when the process ends, and nothing of it matters then.
        threading.Thread(target=self._run, name="kopf", daemon=True).start()
        return self._ended

    def stop(self) -> None:
        """Kopf is on its way out."""
        self._stop.set()

    def _run(self) -> None:
        asyncio.run(self._watch_until_it_ends())

    async def _watch_until_it_ends(self) -> None:
        """Reports the end of the first of Kopf's tasks, which is the end of all.

        Not `kopf.operator()`: after a watch has failed it waits, for ever, for others that want
        to log in again (kopf 1.45.2; the control plane tests empty an etcd to see it).
        """
        insights = Insights()
        tasks = await kopf.spawn_tasks(
            registry=self._handlers(),
            settings=watch_settings(),
            insights=insights,
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )
        check = asyncio.create_task(_fail_unless_all_are_watched(insights))
        done, _ = await asyncio.wait({*tasks, check}, return_when=asyncio.FIRST_COMPLETED)
        failures = [task.exception() for task in done if not task.cancelled()]
        self._tell(self._report, next(filter(None, failures), None))

    def _report(self, failure: BaseException | None) -> None:
        assert self._ended is not None
        if self._ended.done():
            return
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    def _tell(self, what: Callable[..., None], *about: Any) -> None:
        assert self._main is not None
        # The main loop may have ended, even between a look and the call.
        with suppress(RuntimeError):
            self._main.call_soon_threadsafe(what, *about)

    def _handlers(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        login: Any = (
            kopf.login_with_kubeconfig if self._kubeconfig else kopf.login_with_service_account
        )
        kopf.on.login(registry=registry)(login)
        for model in KINDS:
            self._watch(registry, model.info.kind, model.info.plural)
        return registry

    def _watch(self, registry: kopf.OperatorRegistry, kind: str, plural: str) -> None:
        @kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"watch-{plural}")
        async def hand_over(event: kopf.RawEvent, **_: Any) -> None:
            assert self._main is not None
            if not self._main.is_closed():
                self._main.call_soon_threadsafe(self._receive, kind, event["type"], event["object"])


async def _fail_unless_all_are_watched(insights: Insights) -> None:
    """Raises if Kopf has not found all kinds: it would never look for them again."""
    await insights.ready_resources.wait()
    wanted = {model.info.plural for model in KINDS}
    missing = wanted - {resource.plural for resource in insights.watched_resources}
    if missing:
        raise LookupError(f"the API server has no {', '.join(sorted(missing))}: install the CRDs")
    await asyncio.Event().wait()


def watch_settings() -> kopf.OperatorSettings:
    """Kopf's settings: only watches, for ever, with nothing of its own in the cluster."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffs()
    settings.scanning.disabled = True
    settings.networking.error_backoffs = Backoffs(random.Random())
    settings.networking.request_timeout = REQUEST_S
    settings.watching.server_timeout = WATCH_S
    settings.watching.chunk_size = PAGE
    settings.queueing.exit_timeout = 0.5
    # It would kill the thread, and with it the process, ten minutes after a clean end.
    settings.process.ultimate_exiting_timeout = None
    return settings
