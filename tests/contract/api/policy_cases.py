"""ProtectionPolicies that are accepted or refused."""

from contract.api.manifests import (
    EXCUSE,
    EXTERNAL,
    REMOVED,
    SCHEDULE,
    Case,
    backup_only,
    policy,
)

DURATION = "write a duration as a whole number with s, m or h, as in 30s, 5m or 24h"
SCHEDULE_SAYS = "write a schedule as Nx-Dd[-Ww][-Mm][-Yy]"
GUARD = (
    "replication copies a deletion within seconds and is not a backup: add spec.backup.schedule "
    "or spec.backup.external, or say in spec.exceptions.replicationWithoutBackup the reason and "
    "until when to go without"
)
RATE = "write the bytes a second with MiB or GiB, as in 50MiB or 1GiB"
BUFFER = "write a size with MiB or GiB, 9GiB at most, as in 128MiB or 1GiB"
EXACTLY_ONE = "set exactly one of backup.schedule and backup.external"
NO_NUMBERS = (("spec.rpo", REMOVED), ("spec.rto", REMOVED))
NO_BACKUP = ("spec.backup", REMOVED)
NO_REPLICATION = ("spec.replication", REMOVED)
RETENTION = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
LAST = {"last": 1}

ACCEPTED = (
    Case("Gold with all numbers", policy()),
    Case("Gold by its class alone", policy(*NO_NUMBERS)),
    Case("Gold with defaults of replication", policy(("spec.replication", {}))),
    Case("Gold with an external backup", policy(("spec.backup", EXTERNAL))),
    Case(
        "an external backup with an end",
        policy(("spec.backup", EXTERNAL), ("spec.backup.external.until", "2027-01-31")),
    ),
    Case("no backup, excused", policy(NO_BACKUP, ("spec.exceptions", EXCUSE))),
    Case("Bronze as shipped", backup_only("Bronze", "1x-14d-4w")),
    Case("Silver as shipped", backup_only("Silver", "24x-7d-4w-6m")),
    Case("an rpo that its runs just keep", backup_only("Silver", "12x-7d", ("spec.rpo", "2h"))),
    Case("an external backup alone", policy(NO_REPLICATION, ("spec.backup", EXTERNAL))),
    Case("a schedule with years", policy(("spec.backup.schedule", "2x-7d-4w-12m-10y"))),
    Case("the least rpo of replication", policy(("spec.rpo", "30s"), ("spec.replication", {}))),
    Case("the least interval", policy(("spec.replication.interval", "15s"))),
    Case("an interval as long as the rpo", policy(("spec.replication.interval", "300s"))),
    Case(
        "replication faster than its backup",
        policy(("spec.rpo", "1m"), ("spec.replication", {}), ("spec.backup", SCHEDULE)),
    ),
    Case("a transfer by default", policy(("spec.replication.transfer", {}))),
    Case(
        "a transfer with everything",
        policy(
            (
                "spec.replication.transfer",
                {"path": "Direct", "rateLimit": "50MiB", "compression": "Zstd", "buffer": "1GiB"},
            )
        ),
    ),
    Case("the largest buffer", policy(("spec.replication.transfer", {"buffer": "9999MiB"}))),
    Case("the largest rate", policy(("spec.replication.transfer", {"rateLimit": "9999GiB"}))),
    Case("nulls in a transfer", policy(("spec.replication.transfer", {"rateLimit": None}))),
    Case("nulls for what is left out", policy(("spec.rpo", None), ("spec.exceptions", None))),
    Case(
        "nulls for what has a default",
        policy(("spec.replication", {"retention": {"source": None, "target": {"hourly": None}}})),
    ),
    Case(
        "retention in part",
        policy(("spec.replication", {"retention": {"target": {"daily": 30}}})),
    ),
    Case(
        "retention by every rule",
        policy(("spec.replication.retention", {"target": dict.fromkeys(RETENTION, 1000)})),
    ),
    Case(
        "retention by no rule but the last",
        policy(("spec.replication.retention", {"source": dict.fromkeys(RETENTION, 0) | LAST})),
    ),
)

REFUSED = (
    Case("replication without backup", policy(NO_BACKUP), GUARD),
    Case("replication with empty exceptions", policy(NO_BACKUP, ("spec.exceptions", {})), GUARD),
    Case(
        "an exception without a reason",
        policy(
            NO_BACKUP, ("spec.exceptions", {"replicationWithoutBackup": {"until": "2027-01-31"}})
        ),
        "spec.exceptions.replicationWithoutBackup.reason: Required value",
        "spec.exceptions.replicationWithoutBackup.reason: Field required",
    ),
    Case(
        "an exception with an empty reason",
        policy(
            NO_BACKUP,
            ("spec.exceptions", EXCUSE),
            ("spec.exceptions.replicationWithoutBackup.reason", ""),
        ),
        "should be at least 1 chars long",
        "at least 1 character",
    ),
    Case(
        "an exception without an end",
        policy(NO_BACKUP, ("spec.exceptions", {"replicationWithoutBackup": {"reason": "scratch"}})),
        "spec.exceptions.replicationWithoutBackup.until: Required value",
        "spec.exceptions.replicationWithoutBackup.until: Field required",
    ),
    Case(
        "an exception that ends on no day",
        policy(
            NO_BACKUP,
            ("spec.exceptions", EXCUSE),
            ("spec.exceptions.replicationWithoutBackup.until", "2027-02-30"),
        ),
        "must be of type date",
        "valid date",
    ),
    Case(
        "an exception that ends at a time of day",
        policy(
            NO_BACKUP,
            ("spec.exceptions", EXCUSE),
            ("spec.exceptions.replicationWithoutBackup.until", "2027-01-31T00:00:00Z"),
        ),
        "must be of type date",
    ),
    Case(
        "an exception that ends at a number",
        policy(
            NO_BACKUP,
            ("spec.exceptions", EXCUSE),
            ("spec.exceptions.replicationWithoutBackup.until", 20270131),
        ),
        "must be of type ",
    ),
    Case("a null backup", policy(("spec.backup", None)), GUARD),
    Case("an empty backup", policy(("spec.backup", {})), EXACTLY_ONE),
    Case("a backup of both kinds", policy(("spec.backup", SCHEDULE | EXTERNAL)), EXACTLY_ONE),
    Case(
        "an external backup without a statement",
        policy(("spec.backup", {"external": {}})),
        "spec.backup.external.statement: Required value",
        "spec.backup.external.statement: Field required",
    ),
    Case("neither means", policy(NO_BACKUP, NO_REPLICATION), "protects nothing: add one of them"),
    Case(
        "Platinum",
        policy(("spec.class", "Platinum")),
        "needs Ceph RBD mirroring and is impossible with ZFS replication or backups: choose Gold "
        "and set spec.rpo, 30s at least",
    ),
    Case("an unknown class", policy(("spec.class", "Diamond")), "Unsupported value", "'Gold'"),
    Case("no class", policy(("spec.class", REMOVED)), "spec.class: Required value", "required"),
    Case("an rpo in words", policy(("spec.rpo", "5 minutes")), DURATION),
    Case("an rpo of two units", policy(("spec.rpo", "1h30m")), DURATION),
    Case("an rpo in days", policy(("spec.rpo", "1d")), DURATION),
    Case("an rpo of nothing", policy(("spec.rpo", "0s")), DURATION),
    Case("an rpo without unit", policy(("spec.rpo", "300")), DURATION),
    Case("an rpo below zero", policy(("spec.rpo", "-5m")), DURATION),
    Case("an rpo and an end of line", policy(("spec.rpo", "5m\n")), DURATION),
    Case("an rpo of seven digits", policy(("spec.rpo", "1000000s")), DURATION),
    Case(
        "an rpo too long",
        policy(("spec.rpo", "5" * 40 + "m")),
        "Too long: may not be more than 32",
    ),
    Case("a malformed rto", policy(("spec.rto", "soon")), DURATION),
    Case("a malformed interval", policy(("spec.replication.interval", "2 m")), DURATION),
    Case(
        "an rpo in a number",
        policy(("spec.rpo", 300)),
        "must be of type string",
        "valid string",
    ),
    Case(
        "an rpo below what replication keeps",
        policy(("spec.rpo", "29s"), ("spec.replication", {})),
        "rpo 29s is below 30s, the least that ZFS replication keeps: raise spec.rpo",
    ),
    Case(
        "Silver on one run a day",
        backup_only("Silver", "1x-7d"),
        "rpo 1h is shorter than 24h / 1, the time between two runs of the schedule 1x-7d: raise "
        "spec.rpo, or the runs a day, or add spec.replication",
    ),
    Case(
        "Gold without replication",
        backup_only("Gold", "24x-7d"),
        "rpo 5m is shorter than 24h / 24, the time between two runs of the schedule 24x-7d",
    ),
    Case(
        "an rpo just below its runs",
        backup_only("Bronze", "12x-7d", ("spec.rpo", "7199s")),
        "rpo 7199s is shorter than 24h / 12",
    ),
    Case(
        "an interval beyond the rpo",
        policy(("spec.replication.interval", "6m")),
        "replication.interval 6m is longer than rpo 5m: shorten the interval, or leave it out for "
        "half of the RPO",
    ),
    Case(
        "an interval beyond the rpo of the class",
        policy(("spec.replication.interval", "301s"), *NO_NUMBERS),
        "replication.interval 301s is longer than rpo 5m",
    ),
    Case(
        "an interval too short",
        policy(("spec.replication.interval", "14s")),
        "replication.interval 14s is below 15s: lengthen it, or leave it out for half of the RPO",
    ),
    Case(
        "a path that is none",
        policy(("spec.replication.transfer", {"path": "Carrier"})),
        "Unsupported value",
        "'Relay' or 'Direct'",
    ),
    Case(
        "a compression that is none",
        policy(("spec.replication.transfer", {"compression": "gzip"})),
        "Unsupported value",
        "'Off' or 'Zstd'",
    ),
    *(
        Case(f"a rate of {rate}", policy(("spec.replication.transfer", {"rateLimit": rate})), RATE)
        for rate in ("50", "50MB", "0MiB", "1.5GiB", "-1MiB", "10000MiB", "64KiB")
    ),
    *(
        Case(f"a buffer of {size}", policy(("spec.replication.transfer", {"buffer": size})), BUFFER)
        for size in ("128", "0MiB", "10GiB", "128M", "1TiB")
    ),
    Case("a schedule in cron's form", policy(("spec.backup.schedule", "0 2 * * *")), SCHEDULE_SAYS),
    Case("a schedule without days", policy(("spec.backup.schedule", "1x-4w")), SCHEDULE_SAYS),
    Case("a schedule out of order", policy(("spec.backup.schedule", "1x-7d-6m-4w")), SCHEDULE_SAYS),
    Case("a schedule of no runs", policy(("spec.backup.schedule", "0x-7d")), SCHEDULE_SAYS),
    Case("a schedule that keeps nothing", policy(("spec.backup.schedule", "1x-0d")), SCHEDULE_SAYS),
    Case(
        "a malformed schedule without replication",
        backup_only("Bronze", "often"),
        SCHEDULE_SAYS,
    ),
    Case(
        "no last snapshot kept",
        policy(("spec.replication", {"retention": {"source": {"last": 0}}})),
        "greater than or equal to 1",
    ),
    Case(
        "a thousand and one kept",
        policy(("spec.replication", {"retention": {"target": {"hourly": 1001}}})),
        "less than or equal to 1000",
    ),
    Case(
        "days below zero",
        policy(("spec.replication", {"retention": {"target": {"daily": -1}}})),
        "greater than or equal to 0",
    ),
    Case(
        "a thousand and one weeks",
        policy(("spec.replication", {"retention": {"target": {"weekly": 1001}}})),
        "less than or equal to 1000",
    ),
    Case(
        "months in quotes",
        policy(("spec.replication", {"retention": {"target": {"monthly": "6"}}})),
        "must be of type integer",
        "valid integer",
    ),
    Case(
        "years below zero",
        policy(("spec.replication", {"retention": {"target": {"yearly": -1}}})),
        "greater than or equal to 0",
    ),
    Case(
        "a misspelt rpo",
        policy(("spec.rop", "5m")),
        'unknown field "spec.rop"',
        "spec.rop: Extra inputs are not permitted",
    ),
    Case(
        "a part that does not work yet",
        policy(("spec.drill", {"every": "30d"})),
        'unknown field "spec.drill"',
        "spec.drill: Extra inputs are not permitted",
    ),
    Case(
        "an unknown field of the retention",
        policy(("spec.replication", {"retention": {"source": {"minutely": 4}}})),
        'unknown field "spec.replication.retention.source.minutely"',
        "spec.replication.retention.source.minutely: Extra inputs are not permitted",
    ),
    Case("a null class", policy(("spec.class", None)), "spec.class: Required value", "required"),
)
