"""A Site whose host cannot be used says why; others go on; it heals by itself."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e import manifests, pools
from e2e.patience import eventually
from e2e.scene import Scene
from worlds.processes import free_port

pytestmark = pytest.mark.timeout(1800)

READY = ("True", "Reachable")
VERDICTS = {
    "plain": ("False", "NoRights"),
    "noisy": READY,
    "german": READY,
    "nopython": ("False", "NoPython"),
    "nozfs": ("False", "NoZfs"),
    "wrong-key": ("False", "KeyRefused"),
    "changed-key": ("False", "HostKeyChanged"),
    "closed-port": ("False", "Unreachable"),
    "no-secret": ("False", "SecretMissing"),
}


def make_key(folder: Path) -> tuple[bytes, str]:
    """A new key pair: the private key, and the public one as type and base64."""
    file = folder / "other"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    public = file.with_suffix(".pub").read_text(encoding="ascii").split()
    return file.read_bytes(), " ".join(public[:2])


@pytest.fixture(scope="module")
def trouble(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """One Site for each flaw, all of them the second host, and a pair that needs none of them."""
    private, public = make_key(tmp_path_factory.mktemp("keys"))
    flaws: dict[str, dict[str, Any]] = {
        name: {"user": name} for name in ("plain", "noisy", "german", "nopython", "nozfs")
    }
    flaws |= {"wrong-key": {}, "changed-key": {"hostKeys": [public]}, "no-secret": {}}
    flaws["closed-port"] = {"port": free_port(28000)}
    keys = {"wrong-key": "other", "no-secret": "missing"}
    sites = [
        manifests.site(
            name,
            manifests.host_entry(scene.b, scene.root, **changes),
            key=keys.get(name, manifests.KEY),
        )
        for name, changes in flaws.items()
    ]
    for name in ("good", "bad"):
        pools.make_volume(scene.a, f"{scene.source}/{name}", megabytes=1)
    good = manifests.member("good", f"{scene.source}/good", f"{scene.root}/good")
    bad = manifests.member("bad", f"{scene.source}/bad", f"{scene.root}/bad")
    scene.apply(
        manifests.secret(private, "other"),
        *sites,
        manifests.pair("good", good),
        manifests.between(manifests.pair("bad", bad), "fra", "no-secret"),
    )
    return scene


@pytest.mark.parametrize("name", VERDICTS)
def test_the_site_names_its_flaw(trouble: Scene, name: str) -> None:
    site = trouble.await_verdict("bsite", name, "Ready", VERDICTS[name])
    (host,) = site.status["hosts"]
    assert host["reason"] == VERDICTS[name][1]
    assert bool(host.get("message")) == (VERDICTS[name] != READY)


def test_another_route_goes_on_meanwhile(trouble: Scene) -> None:
    trouble.await_ready("good")
    pools.write(trouble.a, f"{trouble.source}/good")
    trouble.next_point("good")


def test_an_unknown_host_makes_its_pair_unknown_until_it_is_mended(trouble: Scene) -> None:
    pair = trouble.await_verdict("rpair", "bad", "Ready", ("Unknown", "SecretMissing"))
    assert pair.verdict("RPOMet") == ("Unknown", "NeverObserved")
    assert not pools.exists(trouble.b, f"{trouble.root}/bad")
    trouble.apply(manifests.secret(trouble.a.key_path.read_bytes(), "missing"))
    trouble.await_verdict("bsite", "no-secret", "Ready", READY)
    trouble.await_ready("bad")


def test_the_lag_grows_while_a_host_is_lost(trouble: Scene) -> None:
    trouble.await_ready("bad")
    port = {"port": free_port(28000)}
    closed = manifests.host_entry(trouble.b, trouble.root, **port)
    trouble.apply(manifests.site("no-secret", closed, key="missing"))
    lost = trouble.await_verdict("rpair", "bad", "Ready", ("Unknown", "Unreachable"))
    assert lost.verdict("RPOMet") == ("True", "WithinRPO")
    (operator,) = trouble.operators
    labels = {"namespace": trouble.namespace, "pair": "bad"}

    def lag() -> float:
        return operator.total("backstay_recovery_point_lag_seconds", **labels)

    first = lag()

    def grown() -> None:
        assert lag() > first > 0

    eventually(grown)
    trouble.apply(manifests.policy("short", rpo="30s", interval="15s"))
    trouble.kubectl(
        "patch", "rpair", "bad", "--type=merge", "-p", '{"spec":{"policyRef":{"name":"short"}}}'
    )
    breached = trouble.await_verdict("rpair", "bad", "RPOMet", ("False", "RPOBreached"))
    assert breached.verdict("Ready") == ("Unknown", "Unreachable")
    assert breached.point["snapshot"] == lost.point["snapshot"]
