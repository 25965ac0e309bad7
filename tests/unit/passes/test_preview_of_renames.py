"""A preview of renames shows the commands that the operator then runs, and changes nothing."""

from __future__ import annotations

import pytest

from backstay.act.resolution import carry_out
from backstay.app.preview_resolution import as_if_resolved
from backstay.observe.route import read_target
from backstay.plan.resolution import plan_renames
from fakes.lab import Lab
from unit.passes.test_preview_of_resolutions import look, seen_with

SOURCE, TARGET = "tank/vm/t", "backup/backstay/t"


@pytest.mark.rule("Honest dry run")
async def test_a_swap_is_shown_command_by_command(lab: Lab) -> None:
    for name in (SOURCE, f"{SOURCE}/a", f"{SOURCE}/a/x", f"{SOURCE}/b"):
        lab.a.create(name)
        lab.a.write(name, 4096)
    lab.core.pair("erp", {"t": (SOURCE, TARGET)}, recursive=True)
    await lab.core.live(300)
    for old, new in (("a", "tmp"), ("b", "a"), ("tmp", "b")):
        lab.a.rename(f"{SOURCE}/{old}", f"{SOURCE}/{new}")
    lab.b.commands.clear()

    seen, dry = await look(lab), lab.b.port().dry_run()
    while (planned := plan_renames(seen, ())) is not None:
        assert await carry_out(dry, planned) == {}
        seen = seen_with(seen, as_if_resolved(seen.target, planned), lab)
    assert lab.b.commands == []
    assert seen.conflicts == {}

    seen, real = await look(lab), lab.b.port()
    while (planned := plan_renames(seen, ())) is not None:
        assert await carry_out(real, planned) == {}
        seen = seen_with(seen, await read_target(real, seen.task), lab)
    assert dry.commands == lab.b.commands
    assert [c[1] for c in lab.b.commands].count("rename") == 3
