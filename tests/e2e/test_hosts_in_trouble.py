"""A Site whose host cannot be used says why; others go on; it heals by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.host.keys import admitted, new_key
from e2e import manifests, pools
from e2e.patience import eventually
from e2e.scene import Scene
from worlds.processes import free_port

pytestmark = pytest.mark.timeout(1800)

READY = ("True", "Reachable")
VERDICTS = {
    "plain": READY,
    "noisy": READY,
    "german": READY,
    "nopython": ("False", "NoPython"),
    "wrong-key": ("False", "KeyRefused"),
    "changed-key": ("False", "HostKeyChanged"),
    "closed-port": ("False", "Unreachable"),
    "no-secret": ("False", "SecretMissing"),
}


@pytest.fixture(scope="module")
def other_key(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A public key; the private half is in the Secret `other`."""
    private, public = new_key(tmp_path_factory.mktemp("keys"))
    scene.apply(manifests.secret(private, "other"))
    return public


def flawed_site(scene: Scene, name: str, other_key: str) -> manifests.Document:
    """A Site of the second host with the flaw of that name."""
    flaws: dict[str, dict[str, Any]] = {
        "wrong-key": {},
        "no-secret": {},
        "changed-key": {"hostKeys": [other_key]},
        "closed-port": {"port": free_port(28000)},
    }
    changes = flaws.get(name, {"user": name})
    key = {"wrong-key": "other", "no-secret": "missing"}.get(name, manifests.KEY)
    return manifests.site(name, manifests.host_entry(scene.b, scene.root, **changes), key=key)


# One at a time: all of them at once are more logins than an emulated host takes in time.
@pytest.mark.fault(
    "missing Secret",
    "wrong key",
    "changed host key",
    "unreachable host",
    "no Python",
    "no rights",
    "other locale",
    "noisy login shell",
)
@pytest.mark.parametrize("name", VERDICTS)
def test_the_site_names_its_flaw(scene: Scene, other_key: str, name: str) -> None:
    scene.apply(flawed_site(scene, name, other_key))
    site = scene.await_verdict("bsite", name, "Ready", VERDICTS[name])
    (host,) = site.status["hosts"]
    assert host["reason"] == VERDICTS[name][1]
    assert bool(host.get("message")) == (name == "plain" or VERDICTS[name] != READY)
    assert host.get("delegated", False) == (name == "plain")
    scene.kubectl("delete", "bsite", name)


@pytest.fixture
def bring_back(scene: Scene, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Logins at the second host with the Secret `bare` see no zfs until this is called.

    All others see it, for the hosts are shared with other tests.
    """
    private, public = new_key(tmp_path)
    scene.apply(manifests.secret(private, "bare"))
    shell, back, hidden = (f"/run/{name}-{scene.suffix}" for name in ("shell", "back", "hidden"))
    scene.b.run(f"cat >{shell}", given=_SHELL.format(back=back, hidden=hidden))
    with admitted({scene.b: f'command="sh {shell}" {public}'}, public):
        yield lambda: scene.b.run(_BACK.format(back=back, hidden=hidden))
    scene.b.run(f"rm -f {shell} {back} {hidden}")


# Each login has a namespace of its own, in which something lies over zfs; its process id is kept.
_SHELL = """
[ -e {back} ] && exec sh -c "$SSH_ORIGINAL_COMMAND"
echo $$ >>{hidden}
exec unshare --mount sh -c '
  mount --bind /dev/null /usr/sbin/zfs && exec sh -c "$SSH_ORIGINAL_COMMAND"'
"""
_BACK = """
touch {back}
for pid in $(cat {hidden}); do nsenter -t $pid -m umount /usr/sbin/zfs || true; done
"""


@pytest.mark.fault("no ZFS")
def test_a_host_whose_zfs_is_gone_is_named_until_it_is_back(
    scene: Scene, bring_back: Callable[[], str]
) -> None:
    host = manifests.host_entry(scene.b, scene.root)
    scene.apply(manifests.site("bare", host, key="bare"))
    site = scene.await_verdict("bsite", "bare", "Ready", ("False", "NoZfs"))
    assert site.status["hosts"][0]["message"]
    bring_back()
    scene.await_verdict("bsite", "bare", "Ready", READY)
    scene.kubectl("delete", "bsite", "bare")


@pytest.fixture(scope="module")
def trouble(scene: Scene, other_key: str) -> Scene:
    """A pair to a Site without its Secret, and one that needs no such Site."""
    for name in ("good", "bad"):
        pools.make_volume(scene.a, f"{scene.source}/{name}", megabytes=1)
    good = manifests.member("good", f"{scene.source}/good", f"{scene.root}/good")
    bad = manifests.member("bad", f"{scene.source}/bad", f"{scene.root}/bad")
    scene.apply(
        flawed_site(scene, "no-secret", other_key),
        manifests.pair("good", good),
        manifests.between(manifests.pair("bad", bad), "fra", "no-secret"),
    )
    return scene


@pytest.mark.rule("Isolation")
def test_another_route_goes_on_meanwhile(trouble: Scene) -> None:
    trouble.await_ready("good")
    pools.write(trouble.a, f"{trouble.source}/good")
    trouble.next_point("good")


@pytest.mark.fault("missing Secret")
def test_an_unknown_host_makes_its_pair_unknown_until_it_is_mended(trouble: Scene) -> None:
    pair = trouble.await_verdict("rpair", "bad", "Ready", ("Unknown", "SecretMissing"))
    assert pair.verdict("RPOMet") == ("Unknown", "NeverObserved")
    assert not pools.exists(trouble.b, f"{trouble.root}/bad")
    trouble.apply(manifests.secret(trouble.a.key_path.read_bytes(), "missing"))
    trouble.await_verdict("bsite", "no-secret", "Ready", READY)
    trouble.await_ready("bad")


@pytest.mark.rule("RPO truth")
@pytest.mark.fault("unreachable host")
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
