"""docs/operations.md names metrics, labels and words that exist."""

import asyncio
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from backstay.adapters.host.bootstrap import bootstrap_command
from backstay.api.words import ConditionType, Reason
from backstay.app import metrics, wiring
from backstay.app.hostzip import pack_host_program
from backstay.controllers.objects import FINALIZER
from backstay.domain.zfs import WRITER
from backstay.report.metrics import View
from backstay_host import install
from worlds import cache

PAGE = (cache.PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
LABEL = re.compile(r'(\w+)(?:!=|=~|=)"')


class StoppedClock:
    """A clock that stands, because only names matter here."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def alerts() -> list[dict[str, object]]:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    documents = [document for block in blocks for document in yaml.safe_load_all(block)]
    return [
        rule
        for document in documents
        if document["kind"] == "PrometheusRule"
        for group in document["spec"]["groups"]
        for rule in group["rules"]
    ]


def exported() -> dict[str, set[str]]:
    """Every series of objects and of leadership, with its labels, as a scrape shows them."""
    pair = View(
        kind="ReplicationPair",
        namespace="ns",
        name="p",
        conditions=(("RPOMet", "True"),),
        rpo_s=300.0,
        point_time=StoppedClock().now(),
    )
    made = metrics.Metrics()
    made.objects(lambda: [pair], StoppedClock())  # type: ignore[arg-type]
    source = Path(wiring.__file__).read_text(encoding="utf-8")
    for name in re.findall(r'^\s+\("([a-z_]+)", "', source, re.MULTILINE):
        made.gauge(name, "as in wiring", lambda: 1.0)
    scraped = asyncio.run(made.text()).decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_series_and_labels_that_exist(alert: dict[str, object]) -> None:
    known = exported()
    asked = set(re.findall(r"backstay_\w+", str(alert["expr"])))
    assert asked
    assert asked <= known.keys()
    said = str(alert["annotations"])
    used = {*LABEL.findall(str(alert["expr"])), *re.findall(r"\$labels\.(\w+)", said)}
    for name in asked:
        assert used <= known[name]


def test_there_is_an_alert_for_the_lag_for_the_verdicts_and_for_the_leader() -> None:
    named = [re.findall(r'type="(\w+)"', str(alert["expr"])) for alert in alerts()]
    assert named == [[], ["RPOMet"], ["AtRisk"], []]
    assert {"RPOMet", "AtRisk"} <= {str(kind) for kind in ConditionType}


def test_every_condition_and_reason_on_the_page_is_a_word_of_the_api() -> None:
    words = {str(word) for kind in (ConditionType, Reason) for word in kind}
    table = PAGE[PAGE.index("| what you see") : PAGE.index("To ask for a pass")]
    named = set(re.findall(r"`([A-Z]\w+?)(?:=\w+)?`", table))
    assert named
    assert named <= words
    assert {str(kind) for kind in ConditionType} <= named
    assert f"`{FINALIZER}`" in PAGE
    assert WRITER in PAGE


RUNNING = {
    "a session that was fed": shlex.join(bootstrap_command(pack_host_program())),
    "a stream of it": "/usr/bin/python3 -I -S /run/backstay/0123.zip stream t.t",
    "an installed session": f"/usr/bin/python3 -IS {install.PATH} gate --send tank/erp",
    "a stream of it, started anew": f"/usr/bin/python3 -I -S {install.PATH} stream t.t",
}


@pytest.mark.parametrize("what", RUNNING)
def test_the_stop_at_a_host_ends(what: str) -> None:
    (pattern,) = re.findall(r"pkill -f '(.*)'", PAGE)
    assert re.search(pattern, RUNNING[what])


def test_the_stop_at_a_host_does_not_end_the_shell_that_it_is_typed_into() -> None:
    (line,) = re.findall(r"pkill -f '.*'", PAGE)
    (pattern,) = re.findall(r"pkill -f '(.*)'", PAGE)
    assert not re.search(pattern, f"bash -c {shlex.quote(line)}")


def test_no_upgrade_on_the_page_puts_the_other_values_back_to_their_defaults() -> None:
    typed = [line for line in re.findall(r"`(helm upgrade [^`]*)`", PAGE) if "--set" in line]
    assert typed
    assert [line for line in typed if "reuse-values" not in line] == []
    assert len(typed) == len(re.findall(r"--set \w", PAGE))
