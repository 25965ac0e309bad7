"""Reads the marks of tests without importing them: which test, in which world, proves which row.

A name must be readable where the mark is: a literal, or a constant of the same module. Marks count
on a test, on a class, on a module (`pytestmark`), and on the parameters of a test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from proofs.rows import Kind

KINDS: tuple[Kind, ...] = ("rule", "fault")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FAKE = ("unit", "property", "sim", "contract-fake")
"""Worlds where hosts and the API server are doubles."""
WORLDS = (*FAKE, "contract-real", "controlplane", "lab", "e2e", "by hand")
HAND = "_by_hand.py"
"""How a module's name ends that people run, and `make test` does not: it takes too long."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that is marked with the name of a row, in one world that it runs in."""

    kind: Kind
    name: str
    path: str
    """The file below the project's root."""
    test: str
    """`function` or `Class::function`."""
    world: str


@dataclass(slots=True)
class Found:
    """What the marks say, and which marks cannot be read."""

    proofs: list[Proof] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(root: Path) -> Found:
    """Every mark below `root`/tests."""
    modules = {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((root / "tests").rglob("*.py"))
    }
    runners = _runners(modules)
    found = Found()
    for path, tree in modules.items():
        worlds = sorted({world_of(runner, path) for runner in runners.get(path, ())})
        _Module(path, tree, worlds, found).read()
    return found


def world_of(runner: str, path: str) -> str:
    """The world of the tests of `path` when `runner` runs them: the folder of their tier.

    What is run by hand only is of a world of its own, whatever it runs on.

    The contract suite stands in tests/contract, whose fixtures are real hosts and a real API
    server; a module of cases that a test module elsewhere takes over runs there on fakes.
    """
    if runner.endswith(HAND):
        return "by hand"
    tier = PurePosixPath(runner).parts[1]
    if PurePosixPath(path).parts[1] == "contract":
        return "contract-real" if tier == "contract" else "contract-fake"
    return tier


def _runners(modules: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Module → the test modules that pytest runs its tests in: itself, or those that take it over.

    pytest looks into test_*.py alone, and into what it is given by hand; tests of another module
    run where it is star-imported.
    """
    found: dict[str, list[str]] = {}
    for path, tree in modules.items():
        if not (PurePosixPath(path).name.startswith("test_") or path.endswith(HAND)):
            continue
        found.setdefault(path, []).append(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and [n.name for n in node.names] == ["*"]:
                taken = f"tests/{(node.module or '').replace('.', '/')}.py"
                found.setdefault(taken, []).append(path)
    return found


class _Module:
    """One module's marks."""

    def __init__(self, path: str, tree: ast.Module, worlds: list[str], found: Found) -> None:
        self.path, self.tree, self.worlds, self.found = path, tree, worlds, found
        self.constants = dict(_assigned(tree.body))
        self.used: set[ast.Call] = set()

    def read(self) -> None:
        """Every mark of the module is a proof or a problem."""
        self._tests(self.tree.body, [self.constants.get("pytestmark")], "")
        for node in ast.walk(self.tree):
            if _kind(node) is not None and node not in self.used:
                self._problem(node, "marks no test")
        if self.used and not self.worlds:
            self._problem(self.tree, "has marks, but no test module runs its tests")
        for world in set(self.worlds) - set(WORLDS):
            self._problem(self.tree, f"has marks in an unknown tier {world}")

    def _tests(self, body: list[ast.stmt], outer: Iterable[ast.expr | None], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                own = dict(_assigned(node.body)).get("pytestmark")
                inner = [*outer, own, *node.decorator_list]
                self._tests(node.body, inner, f"{prefix}{node.name}::")
            elif isinstance(node, _FUNCTIONS) and node.name.startswith("test"):
                self._test(f"{prefix}{node.name}", [*outer, *node.decorator_list])

    def _test(self, test: str, marks: Iterable[ast.expr | None]) -> None:
        named: dict[tuple[Kind, str], None] = {}
        for mark in marks:
            for call in self._calls(mark, set()):
                self.used.add(call)
                kind = _kind(call)
                assert kind is not None
                named |= {(kind, name): None for name in self._names_of(call)}
        for kind, name in named:
            for world in self.worlds:
                self.found.proofs.append(Proof(kind, name, self.path, test, world))

    def _calls(self, mark: ast.expr | None, seen: set[str]) -> Iterator[ast.Call]:
        """The marks in an expression, and in the constants that it names."""
        for node in ast.walk(mark) if mark is not None else ():
            if isinstance(node, ast.Call) and _kind(node) is not None:
                yield node
            elif isinstance(node, ast.Name) and node.id not in seen:
                yield from self._calls(self.constants.get(node.id), seen | {node.id})

    def _names_of(self, call: ast.Call) -> list[str]:
        names = [name for argument in call.args for name in self._names(argument)]
        if call.keywords or not names:
            self._problem(call, "a mark names its rows, and nothing else")
        return names

    def _names(self, argument: ast.expr) -> list[str]:
        match argument:
            case ast.Constant(value=str(name)):
                return [name]
            case ast.Name(id=constant) if constant in self.constants:
                return self._names(self.constants[constant])
            case ast.Starred(value=several):
                return self._names(several)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return [name for part in parts for name in self._names(part)]
        said = ast.unparse(argument)
        self._problem(argument, f"write {said} as a literal or a constant of this module")
        return []

    def _problem(self, node: ast.AST, what: str) -> None:
        said = f"{self.path}:{getattr(node, 'lineno', 1)}: {what}"
        if said not in self.found.problems:
            self.found.problems.append(said)


def _kind(node: ast.AST) -> Kind | None:
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    return next((kind for kind in KINDS if called == f"pytest.mark.{kind}"), None)


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign):
            yield from ((t.id, node.value) for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value
