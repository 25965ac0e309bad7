"""What may go wrong, and what is expected then: faults of hosts and lines, and bad input."""

from __future__ import annotations

from proofs.rows import Row, Table

_RESUMED = "The token is kept and the next pass goes on from it; nothing is seeded anew."
_ALONE = "The others have their points in the next pass; no replica holds another member's data."
_FIXPOINT = (
    "The next passes reach the same end: no point lost, no second seed, one bookmark a GUID, one "
    "unsent snapshot at most, the base intact."
)
_NAMED = (
    "The Site says it by its own reason; its pairs are Unknown and judged by the clock; other "
    "routes go on; it heals by itself."
)
_UNTOUCHED = "The pair says why, with the exact objects; the target is not written to."
_DECIDED = "`SetAside` keeps all that is there, and only what is new at the source travels."
_ONE_PROGRAM = (
    "For root one channel program makes both; for other accounts the moment is too short to be hit."
)
_REFUSED = "Refused by the API server, with a sentence that says what to do."

STREAMS = (
    Row("stream cut before its first byte", "Nothing is left of it; it is simply sent again."),
    Row("full stream cut after its first byte", _RESUMED),
    Row("full stream cut in the middle", _RESUMED),
    Row("full stream cut in its last record", _RESUMED),
    Row("incremental stream cut after its first byte", _RESUMED),
    Row("incremental stream cut in the middle", _RESUMED),
    Row("incremental stream cut in its last record", _RESUMED),
    Row("target reboots amid a receive", "Goes on, or begins again, by itself."),
    Row("pool exported and imported amid a receive", "Goes on, or begins again, by itself."),
    Row(
        "acknowledgement lost (receive done, ssh dies)",
        "The GUID is found at the target: success, and nothing is sent again.",
    ),
    Row(
        "stream stands still",
        "`AtRisk` (`TransferStalled`) within half a minute; then both ends are stopped, and the "
        "next pass goes on from what has arrived.",
    ),
    Row(
        "stream far slower than those before it",
        "`AtRisk` (`TransferSlow`) before the RPO is breached; it is left alone.",
    ),
    Row("one garbled byte in the stream", "The receive commits nothing; it is sent again."),
    Row("member of a shared pipe vanishes before its send", _ALONE),
    Row("member of a shared pipe fails in the middle", _ALONE),
    Row(
        "member of a group interrupted again and again",
        "The group stays at its set until that is whole; newer whole sets follow.",
    ),
)

KILLS = (
    Row("kill -9 of the operator before the snapshot", _FIXPOINT),
    Row(
        "kill -9 of the operator between snapshot and bookmark", _FIXPOINT, fakes_only=_ONE_PROGRAM
    ),
    Row("kill -9 of the operator before the send", _FIXPOINT),
    Row("kill -9 of the operator mid-send", _FIXPOINT),
    Row("kill -9 of the operator after the receive, before its status", _FIXPOINT),
    Row("kill -9 of the operator amid pruning", _FIXPOINT),
    Row("kill -9 of host program or ssh before the snapshot", _FIXPOINT),
    Row(
        "kill -9 of host program or ssh between snapshot and bookmark",
        _FIXPOINT,
        fakes_only=_ONE_PROGRAM,
    ),
    Row("kill -9 of host program or ssh before the send", _FIXPOINT),
    Row(
        "kill -9 of host program or ssh mid-send",
        f"{_FIXPOINT} Nothing of the old line goes on past its deadline.",
    ),
    Row("kill -9 of host program or ssh after the receive, before its status", _FIXPOINT),
    Row("kill -9 of host program or ssh amid pruning", _FIXPOINT),
    Row("kill -9 of `zfs receive` mid-send", _RESUMED),
)

TOKENS = (
    Row(
        "token's source snapshot destroyed",
        "The partial receive is dropped and the member planned anew from its base.",
    ),
    Row(
        "token's source snapshot recreated under the same name",
        "The partial receive is dropped and the member planned anew from its base.",
    ),
    Row(
        "token that nobody can read",
        "The partial receive is dropped once and the member planned anew from its base.",
        fakes_only="ZFS makes the token when it is asked for; nobody else can spoil it.",
    ),
    Row(
        "token shown but `receive -A` says there is none",
        "`StaleReceiveState` (openzfs#10439); other datasets are not affected.",
        fakes_only="A fault of ZFS that cannot be made at will.",
    ),
    Row("raw flag flipped after the seed", "Refused at planning: `StreamModePinned`."),
    Row(
        "manual non-raw receive into a raw replica",
        "Refused at planning: `RawLineageBroken`, with the newest snapshot that still fits.",
    ),
)

POOLS = (
    Row("source dataset missing", f"{_UNTOUCHED} It goes on once the source is there."),
    Row("target exists with foreign data", _UNTOUCHED),
    Row("target outside the receive roots", _UNTOUCHED),
    Row("receive root missing", f"{_UNTOUCHED} It goes on once the root is there."),
    Row("receive root inside a Proxmox storage path", _UNTOUCHED),
    Row(
        "someone snapshots the replica",
        "Goes on; the snapshot is kept. Of an encrypted source: `RawLineageBroken` with its name, "
        "as ZFS takes no raw stream then.",
    ),
    Row("someone writes to the replica", f"`Diverged`. {_UNTOUCHED}"),
    Row("someone makes the replica writable", "Made read-only again, where that is harmless."),
    Row(
        "someone mounts and reads the replica (atime)",
        "Harmless, or `Diverged` with the exact objects.",
    ),
    Row("someone promotes a clone of the replica", f"`Diverged`. {_UNTOUCHED}"),
    Row(
        "promotion with a receive in flight, or half a group received",
        "The receive fails; every promoted disk is exactly of the chosen set.",
    ),
    Row("an old primary comes back", f"`RoleEpochDiffers`. {_UNTOUCHED}"),
    Row("target rolled back to an older common snapshot", "Goes on from that one."),
    Row("source rolled back, target ahead", f"`Diverged`. {_UNTOUCHED} {_DECIDED}"),
    Row(
        "source destroyed and recreated under the same name",
        "`NewLineage`: stops, and the old replica is kept.",
    ),
    Row("all source snapshots deleted", "Its bookmark is the base."),
    Row("all source snapshots and bookmarks deleted", f"`NoCommonBase`. {_UNTOUCHED}"),
    Row("foreign snapshots on both sides", "Passed over, never pruned."),
    Row("foreign holds on both sides", "Passed over, never pruned, and it costs nothing else."),
    Row(
        "Proxmox storage replication of a source or target",
        "`ForeignReplication`, which names the snapshot; nothing is sent, removed or received.",
    ),
    Row("forged user property", "Tabs and newlines in a value make no other row of it."),
)

SPACE = (
    Row("target with too little space", "Said before the first byte is sent."),
    Row("target fills up amid a stream", "`InsufficientSpace`; the token is kept; no busy loop."),
    Row(
        "refreservation of another volume takes the space",
        "Said before the first byte is sent.",
    ),
    Row("dataset is busy (udev, clone, hold)", "Tried again, ever more seldom, with its reason."),
    Row(
        "member list above 128 KiB",
        "Cut into commands by bytes; a group of that size refused.",
        fakes_only="Emulated hosts take too long to make so many datasets with long names.",
    ),
    Row(
        "1,000 datasets with 100 snapshots each",
        "Planned within the budget, with as many requests as for one dataset.",
        fakes_only="`run.py unchanged` measures 500 datasets with 50 snapshots on real hosts.",
    ),
    Row(
        "`zfs list` of Proxmox beside our survey",
        "Answered within the 10 s that Proxmox waits.",
        excuse="Emulated hosts take longer than that alone; `run.py unchanged --proxmox`.",
    ),
)

HOSTS = (
    Row("missing Secret", _NAMED),
    Row("wrong key", _NAMED),
    Row("changed host key", f"{_NAMED} It is never accepted."),
    Row("unreachable host", _NAMED),
    Row("no ZFS", _NAMED),
    Row("no Python", _NAMED),
    Row("no rights", _NAMED),
    Row("other locale", "Makes no difference."),
    Row("noisy login shell", "Makes no difference."),
    Row("no `mbuffer` or `zstd` on a host", "Less is done, with a warning."),
    Row("ssh refuses one more login (MaxStartups)", "Tried again later; nobody is called to help."),
    Row(
        "half-open line, or all packets lost for minutes",
        "Ended by the deadlines at both ends: no process hangs, and the next pass goes on.",
    ),
)

CLOCKS_AND_WRITERS = (
    Row(
        "clock steps by an hour",
        "No name twice, nothing pruned wrongly, and no lag below zero.",
    ),
    Row(
        "clocks of two hosts differ by five minutes",
        "The Site says so; points, pruning and lag are what they would be without.",
    ),
    Row(
        "two operators of one installation",
        "One of them acts; the hosts refuse the older term, and there is one receive at most.",
    ),
    Row(
        "another installation on the same hosts",
        "`ForeignWriter`; neither touches what is the other's.",
    ),
    Row(
        "leader stopped for a minute and woken",
        "It changes nothing: the hosts refuse its term, and its streams were ended.",
    ),
)

OBJECTS = (
    Row("replication without backup", _REFUSED),
    Row("same site twice", _REFUSED),
    Row("malformed dataset", _REFUSED),
    Row("malformed duration", _REFUSED),
    Row("malformed schedule", _REFUSED),
    Row("unknown field", _REFUSED),
    Row("object edited during a transfer", "The stream goes on if it is still wanted, else ends."),
    Row("object deleted during a transfer", "It ends; our bookmarks go, all data stays."),
    Row(
        "object re-created during a transfer",
        "No second receive; it goes on with what had arrived.",
    ),
    Row(
        "object replaced without status during a transfer",
        "No second receive; it goes on with what had arrived.",
    ),
    Row(
        "pair deleted while what it needs is away",
        "Released after a bounded time; an event names what stays.",
    ),
    Row("API server down for a minute", "Nothing is done without the Lease; then it goes on."),
    Row("etcd compacted", "What was missed is found; watches go on."),
    Row(
        "etcd emptied and manifests applied again",
        "Replication goes on with the replicas that are there; nothing is seeded anew.",
    ),
)

FAULTS = Table(
    kind="fault",
    title="Faults and bad input",
    about="What may go wrong, and what is expected then. All cases by hand were run "
    "on OpenZFS 2.3.9; contract-real was on 2.1.11, too.",
    sections={
        "Streams": STREAMS,
        "Kills": KILLS,
        "Resume tokens": TOKENS,
        "Other hands at the pools": POOLS,
        "Space and size": SPACE,
        "Hosts and logins": HOSTS,
        "Clocks and writers": CLOCKS_AND_WRITERS,
        "Objects": OBJECTS,
    },
)
