"""Numbers for people."""

from __future__ import annotations

import pytest

from backstay.report.ages import age_text, bytes_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-5, "0s"), (0, "0s"), (87.9, "87s"), (119, "119s"), (120, "2m"), (131, "2m11s")),
        *((600, "10m"), (10799, "179m"), (10800, "3h"), (11100, "3h5m"), (28800, "8h")),
        *((172799, "47h"), (172800, "2d"), (183600, "2d3h"), (691200, "8d"), (1e7, "115d")),
    ],
)
def test_an_age_reads_as_in_kubectl_get(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB")),
        *((12 * 1024**2, "12.0 MiB"), (1024**4, "1.0 TiB"), (5000 * 1024**5, "5000.0 PiB")),
    ],
)
def test_a_size_is_in_its_largest_unit(count: int, text: str) -> None:
    assert bytes_text(count) == text
