"""The words of the API: once each, and fit for a condition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backstay.api.words import NOT_YET, ConditionType, Reason

WORDS = [*ConditionType, *Reason]
OPERATOR = Path(__file__).parents[3] / "operator"
CODE = "".join(
    path.read_text(encoding="utf-8")
    for path in OPERATOR.rglob("*.py")
    if path != OPERATOR / "backstay" / "api" / "words.py"
)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{type(word).__name__}.{word}")
def test_a_word_is_camel_case_and_has_a_meaning(word: ConditionType | Reason) -> None:
    assert re.fullmatch("([A-Z]+[a-z]*)+", word.value)
    assert word.meaning.endswith(".")
    assert "|" not in word.meaning


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{type(word).__name__}.{word}")
def test_a_word_is_said_somewhere(word: ConditionType | Reason) -> None:
    """By its name, or, where a host says it, by its text."""
    assert re.search(rf'\b{type(word).__name__}\.{word.name}\b|"{word.value}"', CODE)


@pytest.mark.parametrize("words", [ConditionType, Reason])
def test_every_word_is_there_once(words: type[ConditionType] | type[Reason]) -> None:
    assert len(words.__members__) == len({word.value for word in words})
    assert len(words.__members__) == len({word.meaning for word in words})
    for name, word in words.__members__.items():
        assert name.replace("_", "").lower() == word.value.lower()


def test_a_word_is_its_text() -> None:
    assert f"{Reason.SEEDING}" == "Seeding"
    assert Reason("Seeding") is Reason.SEEDING


def test_the_page_lists_what_somebody_can_meet_and_nothing_else() -> None:
    page = (OPERATOR.parent / "docs" / "reasons.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert listed == {word.value for word in WORDS} - {word.value for word in NOT_YET}
    roles = [path.read_text(encoding="utf-8") for path in OPERATOR.rglob("plan/promotion*.py")]
    roles.append((OPERATOR / "backstay" / "plan" / "demotion.py").read_text(encoding="utf-8"))
    for word in NOT_YET:
        said = rf"\bReason\.{word.name}\b"
        assert len(re.findall(said, CODE)) == len(re.findall(said, "".join(roles)))
