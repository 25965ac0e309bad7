"""Checks what no linter knows: the limits and bans of this house. There is no list of exemptions.

`python hack/tidy.py` prints one line a finding and ends with status 1 if there is any.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MODULE_LINES = 400
FUNCTION_LINES = 60
PURE_FUNCTION_LINES = 40
PURE_ROOMS = tuple(f"operator/backstay/{room}/" for room in ("domain", "api", "plan", "report"))
EMPTY_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})
# The operator and the program at the hosts have one clock each, and one loop that outlives a bug.
CLOCKS = ("operator/backstay/adapters/clock.py", "operator/backstay_host/clock.py")
LOOPS = (
    "operator/backstay/controllers/lanes.py",
    "operator/backstay/controllers/passes.py",
    "operator/backstay_host/serve.py",
)
WALL_CLOCK = frozenset(
    {
        *("time.time", "time.time_ns"),
        *("datetime.now", "datetime.utcnow", "datetime.today"),
        *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"),
    }
)
LEFT_OVER = re.compile(r"\b(TODO|FIXME|XXX)\b")
VECTORS = "operator/backstay_host/zfs/argv.py"
"""The only module that builds argument vectors of `zfs`."""
DESTRUCTIVE_FLAGS = {"receive": "F", "recv": "F", "destroy": "rRf", "rollback": "rRf"}


@dataclass(frozen=True, slots=True)
class Module:
    """One file as the rules see it: its path below the project's root, its text, its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def is_product(self) -> bool:
        return self.path.startswith("operator/")

    @property
    def is_test(self) -> bool:
        return self.path.startswith("tests/")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong where, in words that say what to do."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


Hit = tuple[int, str]
Rule = Callable[[Module], Iterator[Hit]]


def module_length(module: Module) -> Iterator[Hit]:
    """Modules have at most 400 lines."""
    lines = len(module.text.splitlines())
    if lines > MODULE_LINES:
        yield 1, f"module has {lines} lines, {MODULE_LINES} are allowed: find the missing room"


def function_length(module: Module) -> Iterator[Hit]:
    """Functions have at most 60 lines, in pure rooms 40; the signature and docstring count."""
    limit = PURE_FUNCTION_LINES if module.path.startswith(PURE_ROOMS) else FUNCTION_LINES
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > limit:
                yield node.lineno, f"{node.name} has {lines} lines, {limit} are allowed here"


def names(module: Module) -> Iterator[Hit]:
    """No name that could hold anything; no package that shadows the standard library's operator."""
    path = PurePosixPath(module.path)
    for part in (*path.parent.parts, path.stem):
        if part in EMPTY_NAMES:
            yield 1, f"the name {part} says nothing: name what is in it"
    if module.path == "operator/__init__.py":
        yield 1, "operator/__init__.py shadows the standard library's operator: remove it"


def wall_clock(module: Module) -> Iterator[Hit]:
    """Only the two clocks ask what time it is."""
    if not module.is_product or module.path in CLOCKS:
        return
    for call in _calls(module.tree):
        name = ast.unparse(call.func)
        if name in WALL_CLOCK:
            yield call.lineno, f"{name}: take `now` as an argument, or a Clock"


def broad_except(module: Module) -> Iterator[Hit]:
    """Only the loops catch everything; to clean up and raise again is not to catch."""
    if not module.is_product or module.path in LOOPS:
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler) or not _catches_all(node.type):
            continue
        last = node.body[-1]
        if not (isinstance(last, ast.Raise) and last.exc is None):
            yield node.lineno, "catches everything: name the errors by what the loop must do next"


def shells(module: Module) -> Iterator[Hit]:
    """No command goes through a shell on this side."""
    for call in _calls(module.tree):
        for keyword in call.keywords:
            constant = keyword.value
            if keyword.arg == "shell" and isinstance(constant, ast.Constant) and constant.value:
                yield call.lineno, "shell=True: pass an argument vector"


def destructive_zfs(module: Module) -> Iterator[Hit]:
    """No argument vector that can destroy more than one named snapshot or overwrite a target."""
    if not module.is_product:
        return
    docstrings = _docstrings(module.tree)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node not in docstrings:
                words = node.value.split()
                yield from _destructive_words(node.lineno, words)
                yield from _stray_rollback(module, node.lineno, words)
                yield from _bare_word(module, node)
        elif isinstance(node, ast.List | ast.Tuple | ast.Call):
            parts = node.args if isinstance(node, ast.Call) else node.elts
            words = _literal_words(parts)
            yield from _destructive_words(node.lineno, words)
            yield from _stray_rollback(module, node.lineno, words)


def left_overs(module: Module) -> Iterator[Hit]:
    """No work is left in comments: it is an issue or it is done."""
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT and LEFT_OVER.search(token.string):
            yield token.start[0], f"left over: {token.string.lstrip('# ')}"


def docstrings(module: Module) -> Iterator[Hit]:
    """Modules, and public functions and classes at their top, say what is true of them."""
    if not module.is_product:
        return
    if module.text.strip() and ast.get_docstring(module.tree) is None:
        yield 1, "module without a docstring"
    for node in module.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield node.lineno, f"{node.name} has no docstring"


def honest_tests(module: Module) -> Iterator[Hit]:
    """No test sleeps, and none is skipped: a missing world is an error."""
    if not module.is_test:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name == "time.sleep":
                yield node.lineno, "time.sleep in a test: wait for what is meant"
            elif re.fullmatch(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)", name):
                yield node.lineno, f"{name}: a test runs or does not exist"


RULES: tuple[Rule, ...] = (
    *(module_length, function_length, names, wall_clock, broad_except, shells),
    *(destructive_zfs, left_overs, docstrings, honest_tests),
)


def inspect(path: str, text: str) -> list[Finding]:
    """All findings in one file, in the order of its lines."""
    module = Module(path, text, ast.parse(text, path))
    hits = {hit for rule in RULES for hit in rule(module)}
    return [Finding(path, line, what) for line, what in sorted(hits)]


def inspect_all(root: Path, paths: Iterable[str]) -> list[Finding]:
    """All findings in the files `paths` below `root`."""
    return [
        finding
        for path in sorted(paths)
        for finding in inspect(path, (root / path).read_text(encoding="utf-8"))
    ]


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _catches_all(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    each = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(ast.unparse(one) in {"Exception", "BaseException"} for one in each)


def _literal_words(parts: Iterable[ast.expr]) -> list[str]:
    constants = [part.value for part in parts if isinstance(part, ast.Constant)]
    return [word for value in constants if isinstance(value, str) for word in value.split()]


def _destructive_words(line: int, words: list[str]) -> Iterator[Hit]:
    for verb, letters in DESTRUCTIVE_FLAGS.items():
        if verb not in words:
            continue
        for word in words[words.index(verb) + 1 :]:
            if re.fullmatch(r"-[A-Za-z]+", word) and set(word) & set(letters):
                yield line, f"zfs {verb} {word}: name the one thing that is meant"


def _stray_rollback(module: Module, line: int, words: list[str]) -> Iterator[Hit]:
    if module.path == VECTORS or "zfs" not in words:
        return
    if "rollback" in words[words.index("zfs") :]:
        yield line, f"zfs rollback: only an approved one, and only from {VECTORS}"


def _bare_word(module: Module, node: ast.Constant) -> Iterator[Hit]:
    if node.value == "-F" and module.path.startswith("operator/backstay_host/"):
        yield node.lineno, "-F at a host: a receive never overwrites"


def _docstrings(tree: ast.AST) -> set[ast.Constant]:
    """Strings that stand alone as a statement; they are never part of a command."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def tracked_files(root: Path) -> list[str]:
    """The project's Python files: what git knows or would take up."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    answer = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True)
    return [path for path in set(answer.stdout.splitlines()) if (root / path).is_file()]


def main() -> None:
    """Inspect the project; status 1 with findings."""
    root = Path(__file__).resolve().parent.parent
    findings = inspect_all(root, tracked_files(root))
    for finding in findings:
        print(finding)
    if findings:
        sys.exit(f"tidy: {len(findings)} findings")


if __name__ == "__main__":
    main()
