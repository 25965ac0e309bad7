"""`hello` and `survey`: what is there, with a constant number of processes."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backstay_host import fence, places
from backstay_host.clock import now_s, wall_s
from backstay_host.identity import refuse_other_errors
from backstay_host.points import Listed, State
from backstay_host.protocol import (
    DatasetFacts,
    Hello,
    HostFacts,
    PoolFacts,
    Survey,
    Surveyed,
    TokenFacts,
)
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names, parsing

STORAGE_CONFIG = Path("/etc/pve/storage.cfg")
_TRIES = 4
_MAX_WRITTEN_COLUMNS = 16
_MAX_IVSETS = 32
"""Newest snapshots, and as many bookmarks, of each encrypted dataset whose IV sets are read."""

Points = dict[str, list[tuple[str, int, int]]]


def hello(request: Request, _: Hello) -> HostFacts:
    """The host's facts; proves that ZFS answers now, also in a session that has known it."""
    # First of all: the operator takes it for the moment at which the question came.
    now = wall_s()
    request.host.versions = None
    version, _numbers = request.host.version(request.deadline)
    return HostFacts(
        hostname=platform.node(),
        kernel=platform.release(),
        zfs_version=version,
        python_version=platform.python_version(),
        uid=os.geteuid(),
        now=now,
        pools=_pools(request),
    )


def survey(request: Request, body: Survey) -> Surveyed:
    """A complete listing of the roots: datasets, snapshots, bookmarks, tokens, properties.

    Processes: pools, sync, facts, and, unless they are known (points.py), points and `written@`
    where someone else made the newest snapshot; twice the lists when some roots are recursive and
    others are not; one more for all that is encrypted, and for each resume token. Before OpenZFS
    2.3 facts are two lists.
    """
    for root in body.roots:
        names.dataset(root.name)
    names.short(body.ours)
    version = request.host.version(request.deadline)[1]
    pools = _pools(request)
    if body.sync:
        _sync(request, body, pools)
    listing = _Listing(request, version >= parsing.JSON_SINCE, names.settings(body.settings))
    listing.read_datasets(
        [
            [r.name for r in body.roots if r.recursive],
            [r.name for r in body.roots if not r.recursive],
        ]
    )
    listing.read_points()
    listing.read_written(body.ours)
    listing.read_encryption()
    listing.read_tokens()
    datasets = listing.facts()
    return Surveyed(
        datasets=datasets,
        pools=pools,
        absent=sorted(r.name for r in body.roots if r.name not in listing.rows),
        proxmox_paths=proxmox_paths(),
        busy=fence.busy(places.lock_folder(), [d.name for d in datasets]),
    )


def _pools(request: Request) -> list[PoolFacts]:
    return parsing.pools(request.read(argv.list_pools()).checked().out)


def _sync(request: Request, body: Survey, pools: Sequence[PoolFacts]) -> None:
    imported = {pool.name for pool in pools}
    wanted = sorted({root.name.split("/")[0] for root in body.roots} & imported)
    if wanted:
        request.commands.append(argv.sync_pools(wanted))
        request.read(argv.sync_pools(wanted)).checked()


def proxmox_paths() -> list[str]:
    """Pool paths of Proxmox' zfspool storages; none where there is no Proxmox."""
    try:
        return parsing.storage_paths(STORAGE_CONFIG.read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


@dataclass(slots=True)
class _Listing:
    """What was read so far; each `read_` method adds what its name says."""

    request: Request
    as_json: bool
    asked: Sequence[str]
    """Settings that are listed, too."""
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    points: dict[str, Points] = field(default_factory=lambda: {"@": {}, "#": {}})
    properties: dict[str, dict[str, str]] = field(default_factory=dict)
    written: dict[str, tuple[str, int]] = field(default_factory=dict)
    encryption: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    tokens: dict[str, TokenFacts] = field(default_factory=dict)
    roots: list[tuple[bool, list[str]]] = field(default_factory=list)
    wall_s: float = 0.0
    """The host's clock before anything was read."""

    def read_datasets(self, wanted: Sequence[Sequence[str]]) -> None:
        """Datasets of (recursive roots, single roots) with their properties; absent ones not."""
        self.wall_s = wall_s()
        for recursive, roots in zip((True, False), wanted, strict=True):
            self.roots += [(recursive, c) for c in argv.chunks(list(dict.fromkeys(roots)))]
        if self.as_json:
            for recursive, chunk in self.roots:
                vector = partial(argv.get_facts, recursive=recursive, settings=self.asked)
                self._keep_facts(self._get(vector, chunk))
            return
        for text in self._lists([argv.list_datasets(c, r) for r, c in self.roots]):
            self.rows |= parsing.facts_table(text)
        for recursive, chunk in self.roots:
            there = [name for name in chunk if name in self.rows]
            self.properties |= self._local(argv.USER_PROPERTIES, recursive, there)
            if self.asked:
                self.settings |= self._local(self.asked, recursive, there)

    def _local(
        self, properties: Sequence[str], recursive: bool, names_: Sequence[str]
    ) -> dict[str, dict[str, str]]:
        """Those of the properties that are set on the datasets themselves."""

        def vector(left: Sequence[str]) -> list[str]:
            asked = argv.get_local(properties, left, json=False)
            return [*asked[:2], "-r", *asked[2:]] if recursive else asked

        return parsing.local_properties_table(self._get(vector, names_), properties)

    def _get(self, vector: Callable[[Sequence[str]], list[str]], names_: Sequence[str]) -> str:
        """What `zfs get` prints of those that exist; names that are gone are forgotten.

        With one that is gone `zfs get -j` prints nothing: asked again without.
        """
        left = list(names_)
        for _ in range(_TRIES):
            if not left:
                break
            self.request.commands.append(vector(left))
            done = self.request.read(vector(left))
            absent = refuse_other_errors("zfs get", done.status, done.err)
            left = [name for name in left if name not in absent]
            for name in absent:
                self.rows.pop(name, None)
            if not absent or not self.as_json:
                return done.out
        return ""

    def _keep_facts(self, text: str) -> None:
        asked = argv.DATASET_COLUMNS[1:]
        for name, (values, local) in parsing.facts_json(text, asked).items():
            self.rows[name] = {"name": name} | values
            self.properties[name] = {k: v for k, v in local.items() if k in argv.USER_PROPERTIES}
            self.settings[name] = {k: v for k, v in local.items() if k in self.asked}

    def read_points(self) -> None:
        """Snapshots and bookmarks, as far as they are not known.

        Only when all datasets were read: `written` counts from the newest snapshot. One that
        somebody takes in between is then seen, and asked for anew by `read_written`; the other way
        round, its data would pass for part of the snapshot before it.
        """
        known = self.request.host.points
        now = now_s()
        states = {name: _state(row) for name, row in self.rows.items()}
        found = {name: known.find(name, state, now) for name, state in states.items()}
        stale = [name for name, listed in found.items() if listed is None]
        if stale and len(stale) == len(found):
            vectors = [argv.list_points(chunk, recursive) for recursive, chunk in self.roots]
        else:
            vectors = [argv.list_points(chunk, False) for chunk in argv.chunks(stale)]
        for text in self._lists(vectors):
            self._keep_points(text)
        for name in self.rows:
            listed = found[name]
            if listed is None:
                of_name = [self.points[mark].get(name, []) for mark in ("@", "#")]
                known.keep(name, states[name], Listed(*of_name), wall_s=self.wall_s, now=now)
            else:
                self.points["@"][name] = listed.snapshots
                self.points["#"][name] = listed.bookmarks

    def _lists(self, vectors: Sequence[list[str]]) -> list[str]:
        """What these lists say, read side by side; datasets that are gone are forgotten."""
        ended = self.request.read_all(vectors)
        self.request.commands += vectors
        for done in ended:
            for name in refuse_other_errors("zfs list", done.status, done.err):
                self.rows.pop(name, None)
        return [done.out for done in ended]

    def _keep_points(self, text: str) -> None:
        for name, (guid, txg) in parsing.points(text).items():
            mark = "#" if "#" in name else "@"
            dataset, _, short = name.partition(mark)
            self.points[mark].setdefault(dataset, []).append((short, guid, txg))

    def read_written(self, ours: str) -> None:
        """Bytes written since the newest snapshot of ours, for each dataset that has one."""
        pattern = re.compile(rf"backstay_\d{{8}}T\d{{6}}\.\d{{3}}Z_{re.escape(ours)}[0-9a-f]{{4}}")
        hidden: dict[str, list[str]] = {}
        known = self.request.host.points
        for name, row in self.rows.items():
            snapshots = self.points["@"].get(name, [])
            since = next((s for s, _, _ in reversed(snapshots) if pattern.fullmatch(s)), None)
            if since is None:
                continue
            after_newest = parsing.number(row["written"])
            if snapshots[-1][0] == since:
                self.written[name] = (since, after_newest)
            elif after_newest == 0 and (told := known.find_written(name, since)) is not None:
                self.written[name] = (since, told)
            else:
                hidden.setdefault(since, []).append(name)
        wanted = sorted(hidden)
        for first in range(0, len(wanted), _MAX_WRITTEN_COLUMNS):
            self._read_written_of({s: hidden[s] for s in wanted[first:][:_MAX_WRITTEN_COLUMNS]})

    def _read_written_of(self, hidden: dict[str, list[str]]) -> None:
        columns = list(hidden)
        since = {name: snapshot for snapshot, datasets in hidden.items() for name in datasets}
        for chunk in argv.chunks(sorted(since)):
            vector = argv.list_written(columns, chunk)
            self.request.commands.append(vector)
            done = self.request.read(vector)
            refuse_other_errors("zfs list", done.status, done.err)
            for row in parsing.rows(done.out, len(columns) + 1):
                snapshot = since.get(row[0])
                if snapshot is None:
                    said = f"nobody asked `zfs list` for {row[0][:80]!r}"
                    raise Refused("UnexpectedOutput", said)
                written = parsing.number(row[1 + columns.index(snapshot)])
                self.written[row[0]] = (snapshot, written)
                if parsing.number(self.rows[row[0]]["written"]) == 0:
                    self.request.host.points.keep_written(row[0], snapshot, written)

    def read_encryption(self) -> None:
        """Key status and IV sets of what is encrypted: raw streams are judged by them.

        ZFS opens each snapshot for it, which the list of all points does without; so only the
        newest are asked for, among which the base of a replica that is not far behind is.
        """
        encrypted = [n for n, row in self.rows.items() if _is_encrypted(row)]
        wanted = list(encrypted)
        for mark, points in self.points.items():
            for name in encrypted:
                newest = points.get(name, [])[-_MAX_IVSETS:]
                wanted += [f"{name}{mark}{short}" for short, _, _ in newest]
        vectors = [argv.list_encryption(chunk) for chunk in argv.chunks(wanted)]
        self.request.commands += vectors
        for done in self.request.read_all(vectors):
            refuse_other_errors("zfs list", done.status, done.err)
            self.encryption |= parsing.encryption(done.out)

    def _ivsets(self, name: str) -> dict[str, int]:
        """IV sets by short name with its mark; those of points that were made anew are left out."""
        found = {}
        for mark, points in self.points.items():
            for short, guid, _ in points.get(name, []):
                told = self.encryption.get(f"{name}{mark}{short}")
                if told is not None and told[0] == guid and told[1] >= 0:
                    found[f"{mark}{short}"] = told[1]
        return found

    def read_tokens(self) -> None:
        """The contents of each resume token."""
        tokens = {
            name: token
            for name, row in self.rows.items()
            if (token := parsing.token(row["receive_resume_token"]))
        }
        vectors = [argv.decode_token(token) for token in tokens.values()]
        self.request.commands += vectors
        for name, done in zip(tokens, self.request.read_all(vectors), strict=True):
            self.tokens[name] = parsing.token_facts(tokens[name], done.out)

    def facts(self) -> list[DatasetFacts]:
        """The datasets in the order of their names, parents first."""
        return [self._facts(name, self.rows[name]) for name in sorted(self.rows)]

    def _facts(self, name: str, row: dict[str, str]) -> DatasetFacts:
        since, written_since = self.written.get(name, ("", -1))
        return DatasetFacts(
            name=name,
            kind=row["type"],
            guid=parsing.whole(row["guid"]),
            createtxg=parsing.whole(row["createtxg"]),
            written=parsing.number(row["written"]),
            since=since,
            written_since=written_since,
            referenced=parsing.number(row["referenced"]),
            available=parsing.number(row["available"]),
            volsize=parsing.number(row["volsize"]),
            readonly=row["readonly"] == "on",
            mounted=row["mounted"] == "yes",
            encrypted=_is_encrypted(row),
            origin=parsing.blank(row["origin"]),
            token=self.tokens.get(name),
            properties=self.properties.get(name, {}),
            snapshots=self.points["@"].get(name, []),
            bookmarks=self.points["#"].get(name, []),
            used=parsing.number(row["used"]),
            encryption_root=parsing.blank(row["encryptionroot"]),
            key_status=self.encryption.get(name, (0, 0, ""))[2],
            ivsets=self._ivsets(name),
            settings=self.settings.get(name, {}),
        )


def _is_encrypted(row: dict[str, str]) -> bool:
    return row["encryption"] not in ("off", "-")


def _state(row: dict[str, str]) -> State:
    changed = parsing.number(row.get(argv.CHANGED, "-"))
    return State(row["guid"], row["origin"], str(changed))
