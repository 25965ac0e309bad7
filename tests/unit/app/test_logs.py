"""Logs: one line each, and never a local variable."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from backstay.app.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _fail(token: str) -> None:
    assert token
    raise RuntimeError("refused")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_secrets_that_lie_in_variables(
    form: Literal["json", "console"], capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs(form)
    try:
        _fail("s3cr" + "et-token")
    except RuntimeError as error:
        structlog.get_logger("test").error("failed", exc_info=error)
        logging.getLogger("library").exception("failed, too")
    said = capfd.readouterr().err
    assert said.count("RuntimeError: refused") == 2
    assert "s3cret-token" not in said


def test_json_is_one_object_a_line_for_us_and_for_libraries(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logs("json")
    structlog.get_logger("test").info("elected", term=3)
    logging.getLogger("library").warning("said %s", "this")
    ours, theirs = map(json.loads, capfd.readouterr().err.splitlines())
    assert (ours["event"], ours["term"], ours["level"]) == ("elected", 3, "info")
    assert (theirs["event"], theirs["level"]) == ("said this", "warning")


def test_kopf_is_heard_only_when_it_warns(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    logging.getLogger("kopf.objects").info("Handler succeeded")
    logging.getLogger("kopf.objects").warning("watch broke")
    assert [json.loads(x)["event"] for x in capfd.readouterr().err.splitlines()] == ["watch broke"]
