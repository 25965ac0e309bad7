"""The tables of proofs: marks are read without an import, and no row is silently without a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from proofs import pages
from proofs.marks import Proof, collect
from proofs.rows import Row, Table

HEAD = "import pytest\n"
MARKED = HEAD + '@pytest.mark.rule("One")\ndef test_it(): ...\n'


def found(root: Path, files: dict[str, str]) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """(kind, name, test, world) of each proof in such files, and the problems."""
    for path, text in files.items():
        file = root / "tests" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    said = collect(root)
    return [(p.kind, p.name, p.test, p.world) for p in said.proofs], said.problems


def rows_of(text: str, tmp_path: Path) -> list[str]:
    """`test: row` of one test module without problems."""
    proofs, problems = found(tmp_path, {"unit/test_it.py": HEAD + text})
    assert problems == []
    return [f"{test}: {name}" for _, name, test, _ in proofs]


UNREADABLE = {
    "on a word": ('@pytest.mark.rule("a")\ndef word(): ...\n', ":2: marks no test"),
    "on nothing": ('UNUSED = pytest.mark.rule("a")\ndef test_x(): ...\n', ":2: marks no test"),
    "on an empty class": ('@pytest.mark.rule("a")\nclass TestNo: ...\n', ":2: marks no test"),
    "by a call": ("@pytest.mark.rule(named())\ndef test_x(): ...\n", "write named() as a literal"),
    "by an import": ("@pytest.mark.rule(THERE)\ndef test_x(): ...\n", "write THERE as a literal"),
    "without a name": ("@pytest.mark.rule()\ndef test_x(): ...\n", "a mark names its rows"),
    "with more": ('@pytest.mark.rule("a", at=1)\ndef test_x(): ...\n', "a mark names its rows"),
}


class TestMarks:
    def test_of_a_function_are_read(self, tmp_path: Path) -> None:
        text = '@pytest.mark.fault("a", "b")\n@pytest.mark.rule("c")\nasync def test_it(): ...\n'
        assert rows_of(text, tmp_path) == ["test_it: a", "test_it: b", "test_it: c"]

    def test_of_a_class_are_its_tests_and_add_to_theirs(self, tmp_path: Path) -> None:
        text = (
            '@pytest.mark.rule("a")\nclass TestIt:\n'
            '    @pytest.mark.rule("b")\n    def test_x(self): ...\n'
            "    def test_y(self): ...\n    def word(self): ...\n"
        )
        rows = rows_of(text, tmp_path)
        assert rows == ["TestIt::test_x: a", "TestIt::test_x: b", "TestIt::test_y: a"]

    @pytest.mark.parametrize(
        "marks", ['pytest.mark.rule("a")', '[pytest.mark.timeout(3), pytest.mark.rule("a")]']
    )
    def test_of_a_module_are_all_its_tests(self, tmp_path: Path, marks: str) -> None:
        text = (
            f"pytestmark = {marks}\ndef test_x(): ...\nclass TestIt:\n    def test_y(self): ...\n"
        )
        assert rows_of(text, tmp_path) == ["test_x: a", "TestIt::test_y: a"]

    def test_may_name_a_constant_or_several(self, tmp_path: Path) -> None:
        text = (
            'ROW = "a" "b"\nROWS: tuple[str, ...] = ("c", ROW)\n'
            "@pytest.mark.fault(ROW)\ndef test_x(): ...\n"
            "@pytest.mark.fault(*ROWS)\ndef test_y(): ...\n"
        )
        assert rows_of(text, tmp_path) == ["test_x: ab", "test_y: c", "test_y: ab"]

    def test_may_be_a_constant(self, tmp_path: Path) -> None:
        text = 'FENCED = pytest.mark.rule("a")\n@FENCED\ndef test_x(): ...\n'
        assert rows_of(text, tmp_path) == ["test_x: a"]

    def test_of_parameters_are_read_in_place_and_by_name(self, tmp_path: Path) -> None:
        text = (
            'CASES = [pytest.param(1, marks=pytest.mark.fault("a")), 2]\n'
            '@pytest.mark.parametrize("x", CASES)\n'
            '@pytest.mark.parametrize("y", [pytest.param(3, marks=[pytest.mark.fault("b")])])\n'
            "def test_x(x, y): ...\n"
        )
        assert rows_of(text, tmp_path) == ["test_x: a", "test_x: b"]

    def test_count_once_a_test(self, tmp_path: Path) -> None:
        text = 'pytestmark = pytest.mark.rule("a")\n@pytest.mark.rule("a")\ndef test_x(): ...\n'
        assert rows_of(text, tmp_path) == ["test_x: a"]

    def test_are_read_without_an_import(self, tmp_path: Path) -> None:
        text = 'import no_such_module\n@pytest.mark.rule("a")\ndef test_x(): 1 / 0\n'
        assert rows_of(text, tmp_path) == ["test_x: a"]

    @pytest.mark.parametrize("case", UNREADABLE)
    def test_that_prove_nothing_are_problems(self, tmp_path: Path, case: str) -> None:
        text, said = UNREADABLE[case]
        _, problems = found(tmp_path, {"unit/test_it.py": HEAD + text})
        assert said in "\n".join(problems)


class TestWorlds:
    @pytest.mark.parametrize(
        ("path", "world"),
        [
            ("unit/plan/test_it.py", "unit"),
            ("lab/host/test_it.py", "lab"),
            ("contract/api/test_it.py", "contract-real"),
            ("e2e/test_it.py", "e2e"),
            ("lab/core/faults_by_hand.py", "by hand"),
            ("contract/host/more_by_hand.py", "by hand"),
        ],
    )
    def test_are_the_folders_of_the_tiers(self, tmp_path: Path, path: str, world: str) -> None:
        assert found(tmp_path, {path: MARKED}) == ([("rule", "One", "test_it", world)], [])

    def test_of_a_case_are_where_it_is_taken_over(self, tmp_path: Path) -> None:
        taken = "from contract.host.cases import *\n"
        files = {
            "contract/host/cases.py": MARKED,
            "contract/host/test_real.py": taken,
            "unit/test_fake.py": taken,
        }
        proofs, problems = found(tmp_path, files)
        assert [world for _, _, _, world in proofs] == ["contract-fake", "contract-real"]
        assert problems == []

    def test_of_a_case_that_nobody_runs_are_a_problem(self, tmp_path: Path) -> None:
        proofs, problems = found(tmp_path, {"contract/host/cases.py": MARKED})
        assert proofs == []
        assert "no test module runs its tests" in problems[0]

    def test_that_nobody_knows_are_a_problem(self, tmp_path: Path) -> None:
        _, problems = found(tmp_path, {"moon/test_it.py": MARKED})
        assert "an unknown tier moon" in problems[0]


def table(*rows: Row) -> Table:
    """A table of rules."""
    return Table(kind="rule", title="Rules", about="All of them.", sections={"All": rows})


def proof(name: str, world: str = "lab", test: str = "test_it") -> Proof:
    """A test's mark."""
    return Proof("rule", name, "tests/unit/test_it.py", test, world)


class TestJudge:
    def test_accepts_what_is_proven_or_excused(self) -> None:
        rows = table(Row("One", "holds"), Row("Two", "holds", excuse="later"))
        assert pages.judge(rows, [proof("One")]) == []

    def test_finds_a_name_that_is_not_listed_and_says_what_was_meant(self) -> None:
        said = pages.judge(table(Row("Proven base", "holds")), [proof("Proven bases")])
        assert said == [
            "tests/unit/test_it.py: test_it names the rule 'Proven bases', which is not listed "
            "(did you mean 'Proven base'?)",
            "the rule 'Proven base' is neither proven by a test nor excused",
        ]

    def test_finds_a_row_without_test_and_excuse(self) -> None:
        said = pages.judge(table(Row("One", "holds"), Row("Two", "holds")), [proof("One")])
        assert said == ["the rule 'Two' is neither proven by a test nor excused"]

    def test_finds_an_excuse_for_a_proven_row(self) -> None:
        said = pages.judge(table(Row("One", "holds", excuse="later")), [proof("One")])
        assert said == ["the rule 'One' is proven: take its excuse away"]

    def test_finds_a_row_that_no_real_world_has_seen_and_that_does_not_say_why(self) -> None:
        rows = table(Row("One", "holds"), Row("Two", "holds", fakes_only="a fault of the kernel"))
        doubles = [proof(name, world) for name in ("One", "Two") for world in ("unit", "sim")]
        (said,) = pages.judge(rows, doubles)
        assert (
            said == "the rule 'One' is proven on doubles only, and does not say why (`fakes_only`)"
        )
        assert pages.judge(rows, [*doubles, proof("One", "by hand")]) == []
        (said,) = pages.judge(rows, [proof("One"), proof("Two")])
        assert said == "the rule 'Two' is proven in a real world: take its `fakes_only` away"

    def test_counts_no_mark_of_another_table(self) -> None:
        fault = Proof("fault", "One", "tests/unit/test_it.py", "test_it", "unit")
        assert len(pages.judge(table(Row("One", "holds")), [fault])) == 1

    def test_finds_a_row_that_is_there_twice(self) -> None:
        said = pages.judge(table(Row("One", "holds"), Row("One", "holds")), [proof("One")])
        assert said == ["the rule 'One' is listed twice"]


class TestPage:
    def test_tells_first_what_is_not_proven_and_why(self) -> None:
        rows = table(Row("One", "holds"), Row("Two", "holds", excuse="of a later stage"))
        text = pages.page(rows, [proof("One")])
        assert "## Not proven yet" in text
        assert text.index("| Two | of a later stage |") < text.index("## All")
        assert "| Two | holds | — |" in text

    def test_tells_why_a_row_is_proven_on_doubles_only(self) -> None:
        rows = table(Row("One", "holds", fakes_only="nobody can make it"))
        text = pages.page(rows, [proof("One", "unit")])
        assert "test_it.py)<br>*On doubles only:* nobody can make it |" in text

    def test_shows_three_tests_of_a_world_and_counts_the_others(self) -> None:
        tests = [proof("One", test=f"test_{n}") for n in range(5)]
        (line,) = [
            line
            for line in pages.page(table(Row("One", "holds")), tests).splitlines()
            if line.startswith("| One")
        ]
        assert line.count("](../tests/unit/test_it.py)") == 3
        assert line.endswith("[test_it.py::test_2](../tests/unit/test_it.py) +2 |")

    def test_names_worlds_with_the_same_tests_together(self) -> None:
        tests = [proof("One", "contract-real"), proof("One", "contract-fake"), proof("One", "lab")]
        text = pages.page(table(Row("One", "holds")), [*tests, proof("One", "lab", "test_more")])
        assert "**contract-fake, contract-real** [test_it.py::test_it]" in text
        assert "**lab** [test_it.py::test_it]" in text


def test_every_row_of_this_project_is_proven_or_excused() -> None:
    _, problems = pages.pages(Path(__file__).parents[3])
    assert problems == []
