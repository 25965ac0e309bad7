"""The text given to `python3 -c` at a host: takes the program from stdin, keeps it, serves.

stdin: the length of a zip in decimal, a newline, the zip, then frames. The zip holds the packages
`backstay_host` and `sh` and a `__main__.py` with `ZIP_MAIN`. Nothing is printed before the
greeting; a Python that is too old says so in a line of its own, marked like the greeting.
This module imports nothing of the program and stays readable for older Pythons.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys

OLDEST_PYTHON = (3, 11)
ZIP_MAIN = "import sys\nfrom backstay_host.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
_MARK = "backstay-host/1 "
_MAX_ZIP_BYTES = 16 * 1024 * 1024


def default_folder() -> str:
    """`/run/backstay` for root, else `$XDG_RUNTIME_DIR/backstay` or `/tmp/backstay-<uid>`."""
    if os.geteuid() == 0:
        return "/run/backstay"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return runtime + "/backstay" if runtime else f"/tmp/backstay-{os.geteuid()}"


def make_private(folder: str) -> None:
    """The folder exists, is ours and closed to others; PermissionError when that cannot be."""
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - text for `python3 -c`
    info = os.lstat(folder)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise PermissionError(f"{folder} must be a folder of uid {os.geteuid()}, mode 0700")


def _read(size: int) -> bytes:
    """Exactly so many bytes of stdin, and not one more: what follows is for `serve`."""
    data = b""
    while len(data) < size:
        got = os.read(0, size - len(data))
        if not got:
            raise EOFError("the program did not arrive")
        data += got
    return data


def _read_length() -> int:
    digits = b""
    while not digits.endswith(b"\n") and len(digits) < 12:
        digits += _read(1)
    length = int(digits)
    if not 0 < length <= _MAX_ZIP_BYTES:
        raise ValueError(f"a program of {length} bytes")
    return length


def _keep(data: bytes, folder: str, path: str) -> None:
    """The program lies at the path, compiled; compiled once a host, version and Python.

    What is kept for the next session is a link to the same file, named by what it is made of.
    """
    import hashlib

    version = hashlib.sha256(data + sys.version.encode()).hexdigest()
    kept = f"{folder}/program-{version}"
    try:
        os.link(kept, path)
    except FileNotFoundError:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(compiled(data))
        for name in os.listdir(folder):  # noqa: PTH208 - text for `python3 -c`
            if name.startswith("program-"):
                _forget(f"{folder}/{name}")
        with contextlib.suppress(FileExistsError):
            os.link(path, kept)


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - text for `python3 -c`


def compiled(data: bytes, with_sources: bool = False) -> bytes:
    """The same zip with compiled modules, unchecked and unpacked: each `stream` starts faster.

    zipimport takes `.pyc` only from a zip and never writes any (on an emulated host it compiles
    for more than a second at each start). They fit this very Python, which runs the streams too;
    another one needs the sources, and takes them.
    """
    import importlib.util
    import io
    import marshal
    import zipfile

    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as fed, zipfile.ZipFile(kept, "w") as archive:
        for name in fed.namelist():
            if name.endswith(".pyc"):
                continue  # of the Python that ran before this one
            source = fed.read(name)
            if with_sources or not name.endswith(".py"):
                archive.writestr(name, source)
            if not name.endswith(".py"):
                continue
            code = marshal.dumps(compile(source, name, "exec", dont_inherit=True))
            unchecked = (1).to_bytes(4, "little") + importlib.util.source_hash(source)
            archive.writestr(name + "c", importlib.util.MAGIC_NUMBER + unchecked + code)
    return kept.getvalue()


def _refuse(reason: str, message: str) -> int:
    # no json module: an old or cut-down Python may lack it
    text = "".join(c if c.isalnum() or c in " ./:,_-()'" else "?" for c in message)
    line = '{"error": {"reason": "%s", "message": "%s"}}' % (reason, text)  # noqa: UP031
    os.write(1, (_MARK + line + "\n").encode("ascii", "replace"))
    return 1


def start() -> int:
    """The program was fed and served until its end; the exit status."""
    if sys.version_info < OLDEST_PYTHON:
        version = sys.version.split()[0]
        return _refuse("NoPython", f"Python {version} at {sys.executable}, needed is 3.11 or newer")
    try:
        data = _read(_read_length())
        folder = default_folder()
        make_private(folder)
        path = f"{folder}/{os.urandom(16).hex()}.zip"
        _keep(data, folder, path)
    except OSError as error:
        return _refuse("NoRights", f"cannot keep the program: {error}")
    sys.path.insert(0, path)
    try:
        from backstay_host.__main__ import main
    except ImportError as error:
        _forget(path)
        return _refuse("NoPython", f"this Python is incomplete: {error}")
    return main(["serve"])


if __name__ == "__main__":
    sys.exit(start())
