"""The words that fields of several kinds are made of."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from backstay.api.rules import Text
from backstay.api.values import BUFFER, DATASET, DURATION, RATE, SCHEDULE

MESSAGE_LENGTH = 1024

DNS_NAME = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
NAME_MESSAGE = "write a name of lower-case letters, digits, '-' and '.', as in fra-1"

ObjectName: TypeAlias = Annotated[str, Text(DNS_NAME, 253, NAME_MESSAGE)]
SiteName: TypeAlias = Annotated[str, Text(DNS_NAME, 63, NAME_MESSAGE)]
HostName: TypeAlias = Annotated[str, Text(DNS_NAME, 63, NAME_MESSAGE)]

Duration: TypeAlias = Annotated[
    str,
    Text(DURATION, 32, "write a duration as a whole number with s, m or h, as in 30s, 5m or 24h"),
]
Rate: TypeAlias = Annotated[
    str, Text(RATE, 32, "write the bytes a second with MiB or GiB, as in 50MiB or 1GiB")
]
BufferSize: TypeAlias = Annotated[
    str, Text(BUFFER, 32, "write a size with MiB or GiB, 9GiB at most, as in 128MiB or 1GiB")
]
BackupSchedule: TypeAlias = Annotated[
    str,
    Text(
        SCHEDULE,
        64,
        "write a schedule as Nx-Dd[-Ww][-Mm][-Yy], N runs a day and the days, weeks, months and "
        "years kept, as in 1x-7d-4w-6m",
    ),
]

# A bookmark's name needs the rest of the 255 characters that ZFS allows.
DATASET_LENGTH = 180
Dataset: TypeAlias = Annotated[
    str,
    Text(
        DATASET,
        DATASET_LENGTH,
        "write a dataset as pool/path of letters, digits and _ . : - without a snapshot, "
        "as in tank/vm/disk-0",
    ),
]


def _to_utc_second(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(microsecond=0)


# Whole seconds, rounded down: the form of all times in Kubernetes, and never newer than the truth.
Time: TypeAlias = Annotated[AwareDatetime, AfterValidator(_to_utc_second)]


def _only_a_day(day: Any) -> Any:
    if isinstance(day, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
        raise ValueError("must be of type date: write a day, as in 2027-01-31")
    if not isinstance(day, (str, date)):
        raise ValueError("must be of type string: write a day, as in 2027-01-31")
    return day


# Pydantic would take numbers and times of day for days; the API server does not.
Day: TypeAlias = Annotated[date, BeforeValidator(_only_a_day)]


def _cut(length: int) -> BeforeValidator:
    def cut(text: Any) -> Any:
        if isinstance(text, str) and len(text) > length:
            return text[: length - 1] + "…"
        return text

    return BeforeValidator(cut)


# Text in status is cut and never refused: a long error must not cost the report.
Message: TypeAlias = Annotated[str, _cut(MESSAGE_LENGTH), Field(max_length=MESSAGE_LENGTH)]
Label: TypeAlias = Annotated[str, _cut(253), Field(max_length=253)]
