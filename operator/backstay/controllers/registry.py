"""The registry: every watched object in memory, parsed, as last observed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from backstay.api.kinds import REQUESTED_AT, RESOLVE, YIELD
from backstay.api.v1alpha1 import KINDS, ProtectionPolicy, ReplicationPair, Site, problems
from backstay.controllers.keys import ObjectKey
from backstay.ports.kube import Body, ObjectRef

Parsed: TypeAlias = Site | ProtectionPolicy | ReplicationPair
ParsedT = TypeVar("ParsedT", Site, ProtectionPolicy, ReplicationPair)

_MODELS: Mapping[str, type[Parsed]] = {model.info.kind: model for model in KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """An object that its model refuses: one line a fault, the path of the field first."""

    ref: ObjectRef
    generation: int
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object as last observed. `status` is for comparing writes, never for decisions."""

    ref: ObjectRef
    generation: int
    deleting: bool
    requested_at: str | None
    finalizers: tuple[str, ...]
    value: Parsed | Invalid
    status: Mapping[str, Any]
    approvals: tuple[str | None, ...] = ()
    """What somebody decided about replicas that diverged, and about room for a rollback."""
    version: str = ""
    """The resourceVersion that it was parsed from; its status may be newer."""

    @property
    def key(self) -> ObjectKey:
        """The object's name."""
        return ObjectKey(self.ref.kind, self.ref.namespace, self.ref.name)

    @property
    def asked(self) -> tuple[object, ...]:
        """See `_asked`."""
        return (
            *(self.generation, self.deleting, self.requested_at),
            *(self.finalizers, self.approvals),
        )

    def asks_for_more_than(self, other: Entry | None) -> bool:
        """Whether somebody wants something new, as against an echo of a write of our own."""
        return other is None or (
            (self.ref.uid, self.generation, self.deleting, self.requested_at, self.approvals)
            != (
                other.ref.uid,
                other.generation,
                other.deleting,
                other.requested_at,
                other.approvals,
            )
        )


def parse_key(kind: str, body: Body) -> ObjectKey:
    """The name of a body."""
    metadata = body["metadata"]
    return ObjectKey(kind, metadata.get("namespace", ""), metadata["name"])


def parse(kind: str, body: Body) -> Entry:
    """The entry of a body; one that its model refuses becomes `Invalid`.

    Status is left out of the model: one of another version must not make an object invalid.
    """
    metadata = body["metadata"]
    ref = ObjectRef(
        kind=kind,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
    )
    generation = int(metadata.get("generation", 0))
    annotations = metadata.get("annotations") or {}
    asked = {field: body[field] for field in ("apiVersion", "kind", "spec") if field in body}
    value: Parsed | Invalid
    try:
        value = _MODELS[kind].model_validate({**asked, "metadata": metadata})
    except ValidationError as error:
        value = Invalid(ref=ref, generation=generation, errors=tuple(problems(error)))
    return Entry(
        ref=ref,
        generation=generation,
        deleting="deletionTimestamp" in metadata,
        requested_at=annotations.get(REQUESTED_AT),
        finalizers=tuple(metadata.get("finalizers") or ()),
        value=value,
        status=body.get("status") or {},
        approvals=(annotations.get(RESOLVE), annotations.get(YIELD)),
        version=metadata.get("resourceVersion", ""),
    )


def _asked(metadata: Mapping[str, Any]) -> tuple[object, ...]:
    """All that an entry is made of but its status: the same in two versions of one object only
    where its spec is the same, too.
    """
    annotations = metadata.get("annotations") or {}
    return (
        *(int(metadata.get("generation", 0)), "deletionTimestamp" in metadata),
        annotations.get(REQUESTED_AT),
        tuple(metadata.get("finalizers") or ()),
        (annotations.get(RESOLVE), annotations.get(YIELD)),
    )


@dataclass(slots=True)
class Heal:
    """A LIST under way: what happens while it runs is newer than what it says."""

    kind: str
    touched: set[ObjectKey] = field(default_factory=set)


class Registry:
    """Objects by name, one a name: a new uid replaces the old object.

    Watch events arrive in order for each object. A LIST runs beside them and is older than any
    event that came during it, so names that an event touched meanwhile are left alone.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[ObjectKey, Entry]] = {kind: {} for kind in _MODELS}
        self._heals: list[Heal] = []
        self.revision = 0
        """Grows whenever an object comes, goes or asks for something new."""
        self._changed: dict[ObjectKey, int] = {}
        """At which revision each name changed last, in this order; also of what is gone."""

    def put(self, kind: str, body: Body) -> bool:
        """The object is known as the body says; True when it asks for something new."""
        entry = self.read(kind, body)
        self._touch(entry.key)
        return self._store(entry)

    def read(self, kind: str, body: Body) -> Entry:
        """The entry of a body: the known one if it was made of this very version.

        Within a minute of a start, a LIST, the watch and a LIST to heal bring every object. Most
        other news are echoes of our own status writes, whose spec has the known generation.
        """
        known, metadata = self.entry(parse_key(kind, body)), body["metadata"]
        version = metadata.get("resourceVersion", "")
        if known is None or not version or known.ref.uid != metadata.get("uid"):
            return parse(kind, body)
        if known.version == version:
            return known
        if _asked(metadata) == known.asked:
            return replace(known, status=body.get("status") or {}, version=version)
        return parse(kind, body)

    def drop(self, ref: ObjectRef) -> bool:
        """Exactly this object is unknown; one of the same name with another uid stays."""
        key = ObjectKey(ref.kind, ref.namespace, ref.name)
        self._touch(key)
        known = self.entry(key)
        if known is None or known.ref.uid != ref.uid:
            return False
        del self._kinds[key.kind][key]
        self._note(key)
        return True

    def observe_status(self, ref: ObjectRef, status: Mapping[str, Any]) -> None:
        """The object's status is known to be this, if it is still the same object."""
        key = ObjectKey(ref.kind, ref.namespace, ref.name)
        known = self.entry(key)
        if known is None or known.ref.uid != ref.uid:
            return
        self._touch(key)
        self._kinds[key.kind][key] = replace(known, status=status)

    @contextmanager
    def healing(self, kind: str) -> Iterator[Heal]:
        """While a LIST runs, it is noted what events touch."""
        heal = Heal(kind)
        self._heals.append(heal)
        try:
            yield heal
        finally:
            self._heals.remove(heal)

    def heal(self, heal: Heal, entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
        """The registry equals a complete LIST, but for what events touched meanwhile.

        Returns the entries that ask for something new, and the ghosts that were dropped.
        """
        known = self._kinds[heal.kind]
        listed = {entry.key: entry for entry in entries}
        ghosts = [
            entry for key, entry in known.items() if key not in listed and key not in heal.touched
        ]
        for ghost in ghosts:
            del known[ghost.key]
            self._note(ghost.key)
        changed = [
            entry
            for entry in listed.values()
            if entry.key not in heal.touched and self._store(entry)
        ]
        return changed, ghosts

    def entry(self, key: ObjectKey) -> Entry | None:
        """The object of that name as last observed."""
        return self._kinds[key.kind].get(key)

    def changed_since(self, revision: int) -> list[ObjectKey]:
        """What came, went or asked for something new after that revision, oldest change first."""
        newer = itertools.takewhile(
            lambda item: item[1] > revision, reversed(self._changed.items())
        )
        return [key for key, _ in newer][::-1]

    def entries(self, kind: str) -> tuple[Entry, ...]:
        """All objects of a kind."""
        return tuple(self._kinds[kind].values())

    def status(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """The status of exactly this object as last observed; None when it is not known."""
        known = self.entry(ObjectKey(ref.kind, ref.namespace, ref.name))
        return known.status if known is not None and known.ref.uid == ref.uid else None

    def site(self, namespace: str, name: str) -> Site | None:
        """The valid Site of that name."""
        return self._valid(Site, ObjectKey("Site", namespace, name))

    def policy(self, namespace: str, name: str) -> ProtectionPolicy | None:
        """The valid ProtectionPolicy of that name."""
        return self._valid(ProtectionPolicy, ObjectKey("ProtectionPolicy", namespace, name))

    def pair(self, namespace: str, name: str) -> ReplicationPair | None:
        """The valid ReplicationPair of that name; it may be on its way out."""
        return self._valid(ReplicationPair, ObjectKey("ReplicationPair", namespace, name))

    def pairs(self) -> tuple[ReplicationPair, ...]:
        """All valid ReplicationPairs; some may be on their way out."""
        return tuple(self._all_valid(ReplicationPair))

    def _valid(self, model: type[ParsedT], key: ObjectKey) -> ParsedT | None:
        entry = self.entry(key)
        return entry.value if entry is not None and isinstance(entry.value, model) else None

    def _all_valid(self, model: type[ParsedT]) -> Iterator[ParsedT]:
        known = self._kinds[model.info.kind]
        return (entry.value for entry in known.values() if isinstance(entry.value, model))

    def _store(self, entry: Entry) -> bool:
        before = self.entry(entry.key)
        self._kinds[entry.ref.kind][entry.key] = entry
        has_news = entry.asks_for_more_than(before)
        if has_news:
            self._note(entry.key)
        return has_news

    def _note(self, key: ObjectKey) -> None:
        self.revision += 1
        self._changed.pop(key, None)
        self._changed[key] = self.revision

    def _touch(self, key: ObjectKey) -> None:
        for heal in self._heals:
            if heal.kind == key.kind:
                heal.touched.add(key)
