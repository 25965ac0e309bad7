"""The engine's rules: what always holds, whatever happens. Tests name them, numbers may move."""

from __future__ import annotations

from proofs.rows import Row, Table

NO_DATA_LOSS = (
    Row(
        "No implicit destruction",
        "Nothing is overwritten or destroyed with what lies below it; what we destroy is one "
        "snapshot or bookmark of ours, a partial receive of our own lineage, or what somebody "
        "approved the loss of, once, by the exact list of GUIDs.",
    ),
    Row(
        "Proven base",
        "An increment starts from the newest snapshot or bookmark whose GUID both sides have and "
        "goes forward in createtxg; names and clocks prove nothing, and what was written to a "
        "replica stops it.",
    ),
    Row(
        "Raw lineage",
        "An encrypted source travels raw and no other does, as its seed has fixed it; a raw base "
        "is the newest snapshot of the replica and needs the same `ivsetguid`, too.",
    ),
    Row(
        "Pruning keeps the chain",
        "What a target, a resumable stream or an unsent point still needs is never pruned, nor is "
        "anything that is not ours; each lineage keeps a common snapshot, not only a bookmark.",
    ),
    Row(
        "Bookmark with snapshot",
        "No byte of a snapshot leaves before its bookmark exists, so that a base is left whatever "
        "is killed; its name carries lineage, GUID and txg.",
    ),
    Row(
        "Commit truth",
        "A recovery point counts when its GUID was read back at the target, whatever the commands "
        "said.",
    ),
    Row(
        "Single writer, fenced at the host",
        "At any time one leader of one installation changes anything; the host itself refuses an "
        "older term, ends what that one left running, and never receives into a primary. Both ends "
        "of a pair have seen the same moves of the role, or nothing is sent.",
    ),
    Row(
        "Promotion clones the point, never the head",
        "What is promoted is a clone of the chosen point; the replica stays aside until somebody "
        "approves of its removal. The role moves by compare and swap for all members or none, and "
        "until the first promote all of it can be undone.",
        so_far="The steps are there and tried; nothing in the API asks for them yet.",
    ),
    Row(
        "Seed only into nothing, and only what was planned",
        "A full stream never lands on a dataset that exists, and comes from the very dataset that "
        "the plan was made for.",
    ),
    Row(
        "A pipe cannot mix up members",
        "Only increments share a pipe, both ends stop at its first failure, and no replica ever "
        "holds the data of another member.",
    ),
    Row(
        "Room for a rollback",
        "So that a source can be rolled back, our points newer than a snapshot go by an approval "
        "that names them all and the base that every target of the source keeps; nothing foreign "
        "or held goes, and no point is taken for the time that was asked for, a day at most.",
    ),
    Row(
        "Destroy by identity",
        "The GUID of what goes is checked right before; one failure isolates one item.",
    ),
    Row(
        "Resume tokens are untrusted input",
        "A token is resumed only when it names our dataset, a planned snapshot and its base; "
        "otherwise the partial receive is dropped once, on a dataset of this lineage only.",
    ),
)

CONVERGENCE = (
    Row(
        "Fixpoint",
        "From any state that a crash may leave, a bounded number of passes reaches the same end, "
        "or a named condition that says what a human must do.",
    ),
    Row(
        "Pure and total planner",
        "Every state of both sides is mapped to steps or to a named conflict; after success the "
        "plan is empty.",
        fakes_only="The planner sees listings alone; *Fixpoint* is what it comes to on real hosts.",
    ),
    Row(
        "Isolation",
        "One bad dataset costs its siblings one pass at most, and neither pruning nor status; "
        "parents are seeded before their children.",
    ),
    Row(
        "Deadlines",
        "Every request and every stream has a deadline at both ends; what does not move is killed "
        "and resumed later.",
    ),
    Row(
        "No wall clock",
        "No wall clock decides what is right: a clock that steps creates, skips and prunes "
        "nothing.",
    ),
    Row(
        "Unique names",
        "No two snapshots ever get one name, across restarts, zones and clocks that step back.",
    ),
    Row(
        "Atomic groups",
        "All members of a group are snapshotted by one command; while one lacks a set nobody gets "
        "a newer one, and sets are kept or removed whole.",
    ),
    Row(
        "Replica posture",
        "A replica is read-only, not mounted and out of sight below a receive root that is no "
        "Proxmox storage; it takes over no property of the source that matters.",
    ),
)

TRUTH_AND_COST = (
    Row(
        "RPO truth",
        "The lag counts from the newest point that was confirmed at the target, or from the last "
        "sync that proved it unchanged; what is unknown is never called good.",
    ),
    Row(
        "O(hosts) planning",
        "A pass makes a constant number of requests to a host, long lists are cut by bytes, and "
        "with nothing to do nothing is changed.",
    ),
    Row(
        "Honest dry run",
        "A dry run names the very commands of the real one, made by the same planner, and runs "
        "none of them.",
    ),
    Row(
        "Space first",
        "What a stream needs is compared with what is free before its first byte leaves.",
    ),
    Row(
        "Negotiated capabilities",
        "What a host can do is asked of its ZFS version, and less is done where it can do less.",
        so_far="JSON output where there is, else tables that no property can forge; "
        "`receive:append` and `send:raw` follow with delegated identities.",
    ),
)

RULES = Table(
    kind="rule",
    title="Rules of the engine",
    about="What always holds, whatever happens.",
    sections={
        "No data loss": NO_DATA_LOSS,
        "Convergence": CONVERGENCE,
        "Truth and cost": TRUTH_AND_COST,
    },
)
