"""A watch of the ReplicationPairs beside the operator: how often each one's status was written."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bench.cluster import API_VERSION
from worlds import api

PATH = f"/apis/{API_VERSION}/namespaces/{api.NAMESPACE}/replicationpairs"


class Watching:
    """Counts, while it is open, the writes of each pair."""

    def __init__(self, plane: api.ControlPlane) -> None:
        """Nothing is counted yet."""
        self._plane = plane
        self._writes: dict[str, list[float]] = {}
        self._ready: set[str] = set()
        self._link: http.client.HTTPSConnection | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._failure: BaseException | None = None
        self._open = False

    def __enter__(self) -> Self:
        """Writes are counted from now on."""
        self._open = True
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, _: TracebackType | None
    ) -> None:
        """No more are counted; RuntimeError when some were missed."""
        self._open = False
        if self._link is not None and self._link.sock is not None:
            with contextlib.suppress(OSError):
                self._link.sock.shutdown(2)
        self._thread.join(10.0)
        if self._failure is not None and kind is None:
            raise RuntimeError("the watch of the benchmark broke") from self._failure

    def ready(self) -> int:
        """Pairs that are Ready and have a recovery point, as far as seen."""
        return len(self._ready)

    def count(self) -> int:
        """Writes of all pairs."""
        return sum(map(len, self._writes.values()))

    def most(self, of: Callable[[str], bool], within_s: float) -> int:
        """The most writes of one of these pairs in any such time."""
        return max((_most(w, within_s) for p, w in self._writes.items() if of(p)), default=0)

    def _follow(self) -> None:
        try:
            version = "0"
            listed = json.loads(self._get("?limit=1").read())
            version = listed["metadata"]["resourceVersion"]
            said = self._get(
                f"?watch=1&resourceVersion={version}&timeoutSeconds=7200&allowWatchBookmarks=false"
            )
            while line := said.readline():
                self._hear(json.loads(line))
            if self._open:
                raise ConnectionError("the watch ended")
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as failure:
            if self._open:
                self._failure = failure

    def _hear(self, event: dict[str, Any]) -> None:
        if event["type"] != "MODIFIED":
            return
        body = event["object"]
        name, status = body["metadata"]["name"], body.get("status")
        if not status:
            return  # only a finalizer yet
        self._writes.setdefault(name, []).append(time.monotonic())
        conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
        if conditions.get("Ready") == "True" and status.get("recoveryPoint"):
            self._ready.add(name)

    def _get(self, query: str) -> http.client.HTTPResponse:
        host, _, port = self._plane.url.removeprefix("https://").partition(":")
        config = json.loads(self._plane.kubeconfig.read_text(encoding="utf-8"))
        token = config["users"][0]["user"]["token"]
        certificate = config["clusters"][0]["cluster"]["certificate-authority"]
        context = ssl.create_default_context(cafile=certificate)
        self._link = http.client.HTTPSConnection(host, int(port), context=context)
        self._link.request("GET", PATH + query, headers={"Authorization": f"Bearer {token}"})
        return self._link.getresponse()


def _most(times: list[float], within_s: float) -> int:
    return max(sum(0 <= other - at < within_s for other in times) for at in times)
