"""Each rule of the house finds its breach, and leaves its neighbour alone."""

import pytest

import tidy

HOST = "operator/backstay_host/zfs/argv.py"
PLAN = "operator/backstay/plan/sample.py"
ACT = "operator/backstay/act/sample.py"
TEST = "tests/unit/test_sample.py"


def lines(count: int, indent: str = "") -> str:
    return f"{indent}pass\n" * count


def function(line_count: int) -> str:
    return f'def act():\n    """Does."""\n{lines(line_count - 2, "    ")}'


BREACHES = {
    "a module of 401 lines": ("hack/long.py", lines(401), "module has 401 lines"),
    "a function of 61 lines": (ACT, function(61), "act has 61 lines, 60 are allowed"),
    "a pure function of 41 lines": (PLAN, function(41), "act has 41 lines, 40 are allowed"),
    "a module named utils": ("operator/backstay/act/utils.py", "", "the name utils says nothing"),
    "a package named common": ("hack/common/lab.py", "", "the name common says nothing"),
    "an operator package": ("operator/__init__.py", "", "shadows the standard library"),
    "time.time": (ACT, "import time\nnow = time.time()\n", "time.time: take `now`"),
    "datetime.now": (ACT, "now = datetime.now(UTC)\n", "datetime.now: take `now`"),
    "datetime.utcnow": (ACT, "now = datetime.datetime.utcnow()\n", "utcnow: take `now`"),
    "except Exception": (ACT, "try:\n    f()\nexcept Exception:\n    pass\n", "catches everything"),
    "a bare except": (ACT, "try:\n    f()\nexcept:\n    pass\n", "catches everything"),
    "Exception in a tuple": (
        ACT,
        "try:\n    f()\nexcept (ValueError, Exception):\n    pass\n",
        "catches everything",
    ),
    "shell=True": (ACT, "run('ls', shell=True)\n", "shell=True"),
    "receive -F in a list": (HOST, "a = ['receive', '-s', '-F', name]\n", "zfs receive -F"),
    "receive -uF in a call": (ACT, "zfs('receive', '-uF', name)\n", "zfs receive -uF"),
    "receive -F in a string": (ACT, "a = f'zfs receive -F {name}'\n", "zfs receive -F"),
    "-F by itself at a host": (HOST, "a.append('-F')\n", "-F at a host"),
    "rollback -r in a list": (HOST, "a = ['zfs', 'rollback', '-r', name]\n", "zfs rollback -r"),
    "rollback by somebody else": (ACT, "a = ['zfs', 'rollback', name]\n", "only an approved one"),
    "rollback in a sentence": (PLAN, "a = 'try zfs rollback x@y'\n", "only an approved one"),
    "rollback -R in a string": (ACT, "a = 'zfs rollback -R x@y'\n", "zfs rollback -R"),
    "destroy -r": (HOST, "a = ['zfs', 'destroy', '-r', name]\n", "zfs destroy -r"),
    "destroy -R": (HOST, "a = ('destroy', '-R', name)\n", "zfs destroy -R"),
    "destroy -f": (HOST, "a = ['destroy', '-df', name]\n", "zfs destroy -df"),
    "a left-over": (ACT, "a = 1  # TODO" + ": later\n", "left over: TODO"),
    "a function without a docstring": (ACT, "def act(): ...\n", "act has no docstring"),
    "a class without a docstring": (ACT, "class Act: ...\n", "Act has no docstring"),
    "a module without a docstring": (ACT, "a = 1\n", "module without a docstring"),
    "a sleeping test": (TEST, "time.sleep(1)\n", "time.sleep in a test"),
    "a skipped test": (TEST, "pytest.skip('no')\n", "pytest.skip: a test runs"),
    "a test skipped by a mark": (TEST, "@pytest.mark.skipif(x)\ndef f(): ...\n", "mark.skipif"),
}

ALLOWED = {
    "a module of 400 lines": ("hack/long.py", lines(400)),
    "a clock": (tidy.CLOCKS[0], '"""Clock."""\nnow = datetime.now(UTC)\n'),
    "clean up and raise": (ACT, '"""Acts."""\ntry:\n    f()\nexcept BaseException:\n    raise\n'),
    "the pass loop": (
        tidy.LOOPS[0],
        '"""Passes."""\ntry:\n    f()\nexcept Exception:\n    pass\n',
    ),
    "a receive that resumes": (HOST, '"""Vectors."""\na = ["receive", "-s", "-u", name]\n'),
    "a destroy of one snapshot": (HOST, '"""Vectors."""\na = ["destroy", "-d", name]\n'),
    "a rollback to the newest": (HOST, '"""Vectors."""\na = ["zfs", "rollback", name]\n'),
    "ssh -F": (ACT, '"""Ssh."""\na = ["ssh", "-F", path]\n'),
    "a private function": (ACT, '"""Acts."""\ndef _act(): ...\n'),
    "lab tools may destroy": ("hack/lab.py", "run('zfs destroy -R tank/x')\n"),
}


@pytest.mark.parametrize("case", BREACHES)
def test_a_breach_is_found_with_what_to_do(case: str) -> None:
    path, text, expected = BREACHES[case]
    assert expected in "\n".join(map(str, tidy.inspect(path, text)))


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_allowed_is_not_found(case: str) -> None:
    path, text = ALLOWED[case]
    assert tidy.inspect(path, text) == []


def test_a_finding_names_file_and_line() -> None:
    (finding,) = tidy.inspect("hack/x.py", "a = 1\nrun('ls', shell=True)\n")
    assert str(finding).startswith("hack/x.py:2: ")
