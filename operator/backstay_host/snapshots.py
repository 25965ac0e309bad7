"""`snapshot`: one atomic snapshot of a group, and the bookmarks that outlive it."""

from __future__ import annotations

from backstay_host import programs
from backstay_host.fence import DatasetLock
from backstay_host.identity import refuse_other_errors
from backstay_host.protocol import MadeSnapshot, NewBookmark, Snapshotted, TakeSnapshot
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names, parsing
from backstay_host.zfs.failures import reason_of
from backstay_host.zfs.programs import MARK

Known = dict[str, tuple[int, int, int]]
"""By full name: GUID, createtxg, IV set."""


def bookmark_name(lineage: str, guid: int, createtxg: int) -> str:
    """Short name of our bookmark of a snapshot: whose, of what, and from when in its pool."""
    return f"backstay_{lineage}_{guid:016x}_{createtxg}"


def snapshot(request: Request, body: TakeSnapshot) -> Snapshotted:
    """The snapshot of all targets exists with one createtxg, and so do the bookmarks.

    Raises `GroupTooLarge` (one command must hold the whole group, or it is not atomic),
    `NameCollision`, `NewLineage` (a dataset was replaced under its name; the snapshot then exists
    and gets no bookmark), or what ZFS said.
    """
    _validate(body)
    datasets = [target.dataset for target in body.targets]
    if datasets and not argv.fits_one_command(argv.take_snapshot(datasets, body.snapshot)):
        raise Refused("GroupTooLarge", f"{len(datasets)} datasets do not fit into one command")
    locks = [DatasetLock(t.dataset, t.guid, shared=True) for t in body.targets]
    locks += [
        DatasetLock(name, None, shared=True)
        for name in sorted({b.dataset for b in body.bookmarks} - set(datasets))
    ]
    request.host.points.forget({dataset for dataset, _ in _concerned(body)})
    with request.fenced() as term_fds, request.locked(locks) as lock_fds:
        fds = term_fds + lock_fds
        if datasets:
            done = request.change(argv.take_snapshot(datasets, body.snapshot), fds)
            if not done.ok:
                raise _snapshot_failure(done.err, done.refusal())
        known, marked = _read_and_mark(request, body, fds)
        if request.dry_run:
            _bookmarks(request, body, known, marked, fds)
            return Snapshotted([])
        if datasets:
            _check_group(body, known)
        made = _bookmarks(request, body, known, marked, fds)
    return Snapshotted(
        [_made(ds, snap, known, made.get(f"{ds}@{snap}", [])) for ds, snap in _concerned(body)]
    )


def _made(dataset: str, snapshot: str, known: Known, bookmarks: list[str]) -> MadeSnapshot:
    guid, createtxg, ivset = known[f"{dataset}@{snapshot}"]
    return MadeSnapshot(dataset, snapshot, guid, createtxg, bookmarks, ivset)


def _validate(body: TakeSnapshot) -> None:
    names.short(body.snapshot)
    for target in body.targets:
        names.snapshot(f"{target.dataset}@{body.snapshot}")
    for wanted in body.bookmarks:
        names.snapshot(f"{wanted.dataset}@{wanted.snapshot}")
        names.lineage(wanted.lineage)
    pools = {target.dataset.split("/")[0] for target in body.targets}
    if len(pools) > 1 or not (body.targets or body.bookmarks):
        raise Refused("BadRequest", f"a group has members in one pool, not in {sorted(pools)}")


def _snapshot_failure(stderr: str, refused: Refused) -> Refused:
    """A missing member is named as such; `SourceBusy` where ZFS calls a dataset busy."""
    word = {"TargetBusy": "SourceBusy"}.get(reason_of(stderr), refused.reason)
    return Refused(word, refused.message)


def _concerned(body: TakeSnapshot) -> list[tuple[str, str]]:
    """(dataset, snapshot) of the group, then of further bookmarks; each once."""
    pairs = [(target.dataset, body.snapshot) for target in body.targets]
    pairs += [(wanted.dataset, wanted.snapshot) for wanted in body.bookmarks]
    return list(dict.fromkeys(pairs))


def _read_and_mark(
    request: Request, body: TakeSnapshot, fds: tuple[int, ...]
) -> tuple[Known, set[str]]:
    """What exists now, and the full names of the bookmarks that were made along with the look.

    As root one channel program does both, and makes no bookmark unless all that was planned is
    there (programs.py). What it leaves over is for plain commands.
    """
    planned = {f"{t.dataset}@{body.snapshot}": f"{t.guid:016x}" for t in body.targets}
    lineages: dict[str, list[str]] = {f"{ds}@{snap}": [] for ds, snap in _concerned(body)}
    for wanted in body.bookmarks:
        lineages[f"{wanted.dataset}@{wanted.snapshot}"].append(wanted.lineage)
    words = [
        word
        for full, of in lineages.items()
        for word in (full, planned.get(full, "-"), str(len(of)), *of)
    ]
    pool = next(iter(lineages)).split("/")[0].partition("@")[0]
    told = parsing.marked(programs.run(request, pool, MARK, words, fds), asked=lineages)
    if told is None:
        return _read_made(request, body), set()
    known: Known = {}
    for full, (whose, guid, txg, ivset) in told.found.items():
        known[names.dataset_of(full)] = (whose, 0, -1)
        known[full] = (guid, txg, ivset)
    return known, told.made


def _read_made(request: Request, body: TakeSnapshot) -> Known:
    wanted = {name for ds, snap in _concerned(body) for name in (ds, f"{ds}@{snap}")}
    known: Known = {}
    for done in request.read_all([argv.list_made(c) for c in argv.chunks(sorted(wanted))]):
        refuse_other_errors("zfs list", done.status, done.err)
        known |= parsing.made(done.out)
    return known


def _check_group(body: TakeSnapshot, known: Known) -> None:
    txgs = set()
    for target in body.targets:
        full = f"{target.dataset}@{body.snapshot}"
        if full not in known or target.dataset not in known:
            raise Refused("NoSuchDataset", f"{full} is gone right after it was made")
        if known[target.dataset][0] != target.guid:
            raise Refused(
                "NewLineage",
                f"{target.dataset} has GUID {known[target.dataset][0]}, planned was {target.guid}",
            )
        txgs.add(known[full][1])
    if len(txgs) != 1:
        raise Refused("NotAtomic", f"the members of {body.snapshot} have createtxg {sorted(txgs)}")


def _bookmarks(
    request: Request, body: TakeSnapshot, known: Known, marked: set[str], fds: tuple[int, ...]
) -> dict[str, list[str]]:
    """Every bookmark exists with the GUID of its snapshot; `dataset@snapshot` → short names.

    `marked` are the full names of those that were made already.
    """
    planned = [(wanted, _planned_name(request, wanted, known)) for wanted in body.bookmarks]
    left = [(w, n) for w, n in planned if f"{w.dataset}#{n}" not in marked]
    ended = request.change_all(
        [argv.make_bookmark(f"{w.dataset}@{w.snapshot}", f"{w.dataset}#{n}") for w, n in left],
        fds,
    )
    outcomes = dict(zip(left, ended, strict=True))
    made: dict[str, list[str]] = {}
    for wanted, name in planned:
        full = f"{wanted.dataset}@{wanted.snapshot}"
        done = outcomes.get((wanted, name))
        if done is not None and not done.ok:
            found = parsing.made(request.read(argv.list_made([f"{wanted.dataset}#{name}"])).out)
            if [guid for guid, _, _ in found.values()] != [known[full][0]]:
                raise done.refusal()
        made.setdefault(full, []).append(name)
    return made


def _planned_name(request: Request, wanted: NewBookmark, known: Known) -> str:
    full = f"{wanted.dataset}@{wanted.snapshot}"
    if full in known:
        name = bookmark_name(wanted.lineage, *known[full][:2])
        names.bookmark(f"{wanted.dataset}#{name}")
        return name
    if not request.dry_run:
        raise Refused("NoSuchDataset", f"{full} does not exist")
    # the identity of a snapshot that does not exist yet is not known either
    return f"backstay_{wanted.lineage}_<guid>_<createtxg>"
