"""What reading a survey costs: the shape of each kind is looked up once, however many there are."""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter
from typing import Any

import pytest

from backstay_host import codec
from backstay_host.protocol import PoolFacts, Surveyed, from_json, to_json
from fakes.facts import FACTS


def test_the_shape_of_each_kind_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: Counter[str] = Counter()
    hints = typing.get_type_hints

    def count(kind: type, *args: Any, **named: Any) -> Any:
        looked_up[kind.__name__] += 1
        return hints(kind, *args, **named)

    monkeypatch.setattr(typing, "get_type_hints", count)
    codec._reader.cache_clear()
    datasets = [
        dataclasses.replace(FACTS, name=f"tank/{number}", guid=number) for number in range(100)
    ]
    pools = [PoolFacts("tank", 1, "ONLINE", 2, 1)]
    said = Surveyed(datasets, pools, absent=[], proxmox_paths=[], busy=[])
    for _ in range(2):
        assert from_json(Surveyed, to_json(said)) == said
    once = ("Surveyed", "DatasetFacts", "PoolFacts", "TokenFacts")
    assert looked_up == dict.fromkeys(once, 1)
