"""Which control plane is chosen, and the life of a kind cluster; kind itself is a script here."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from worlds import binaries, bringup, kind
from worlds.kind import BUILT, KIND, KindCluster

# Knows `create`, `delete` and `get clusters` as kind does; its clusters are files beside it.
FAKE_KIND = """#!/bin/sh
here=$(dirname "$0")
echo "$KIND_EXPERIMENTAL_PROVIDER $*" >> "$here/calls"
if [ -e "$here/engine-is-down" ]; then echo "Cannot connect to the daemon" >&2; exit 1; fi
case "$1 $2" in
"get clusters") ls "$here/clusters" ;;
"create cluster")
  if [ -e "$here/no-image" ]; then echo "failed to pull image"; exit 1; fi
  touch "$here/clusters/$4"
  cat > "$6" <<END
clusters: [{cluster: {certificate-authority-data: QQ==, server: "https://127.0.0.1:40000"}}]
END
  ;;
"delete cluster") rm -f "$here/clusters/$4" "$6" ;;
esac
"""
FAKE_KUBECTL = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
*/readyz*) [ ! -e "$here/engine-is-down" ] && [ -n "$(ls "$here/clusters")" ] && echo ok ;;
*) echo "kubectl $*" >> "$here/calls" ;;
esac
"""


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on the PATH, with a kind and a kubectl that are scripts."""
    folder = tmp_path / "programs"
    (folder / "clusters").mkdir(parents=True)
    put(folder / "kind", FAKE_KIND)
    put(folder / "kubectl", FAKE_KUBECTL)
    monkeypatch.setattr(binaries, "binary", folder.joinpath)
    monkeypatch.setenv("BACKSTAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("KIND_EXPERIMENTAL_PROVIDER", raising=False)
    return folder


@pytest.fixture
def cluster(programs: Path) -> KindCluster:
    assert programs.exists()
    return bringup.kind_cluster()


def calls(programs: Path) -> list[str]:
    """What was asked of kind: the engine, then the words."""
    path = programs / "calls"
    return path.read_text().splitlines() if path.exists() else []


def clusters(programs: Path) -> list[str]:
    return sorted(path.name for path in (programs / "clusters").iterdir())


@pytest.mark.parametrize(
    ("wanted", "running", "engine", "chosen"),
    [
        ("", None, "docker", KIND),
        ("", None, None, BUILT),
        ("", BUILT, "docker", BUILT),
        ("", KIND, None, KIND),
        (BUILT, None, "docker", BUILT),
        (BUILT, BUILT, "docker", BUILT),
        (KIND, None, "podman", KIND),
        (KIND, KIND, None, KIND),
    ],
)
def test_the_control_plane_that_runs_stays_and_else_an_engine_decides(
    wanted: str, running: str | None, engine: str | None, chosen: str
) -> None:
    assert kind.choose(wanted, running, engine) == chosen


@pytest.mark.parametrize(
    ("wanted", "running", "engine", "said"),
    [
        ("docker", None, "docker", "BACKSTAY_CONTROLPLANE=docker: say kind or built"),
        (KIND, None, None, r"no container engine answers .*BACKSTAY_CONTROLPLANE=built"),
        (KIND, BUILT, "docker", r"\(built\) runs: `make down` first"),
        (BUILT, KIND, "docker", r"\(kind\) runs: `make down` first"),
    ],
)
def test_a_choice_that_cannot_be_says_what_to_do(
    wanted: str, running: str | None, engine: str | None, said: str
) -> None:
    with pytest.raises(RuntimeError, match=said):
        kind.choose(wanted, running, engine)


ENGINE_RUNS = "#!/bin/sh\necho 28.2.2\n"
# What docker 28 does without its daemon: an empty line, and status 1.
ENGINE_IS_DOWN = "#!/bin/sh\necho\necho Cannot connect >&2\nexit 1\n"
ENGINE_SAYS_NOTHING = "#!/bin/sh\necho\n"


@pytest.fixture
def engines(programs: Path) -> Callable[..., None]:
    def write(**scripts: str) -> None:
        for name in kind.ENGINES:
            put(programs / name, scripts.get(name, ENGINE_IS_DOWN))

    return write


def test_an_engine_counts_only_if_it_answers(engines: Callable[..., None]) -> None:
    engines()
    assert kind.answering_engine() is None
    engines(docker=ENGINE_SAYS_NOTHING, podman=ENGINE_RUNS, nerdctl=ENGINE_RUNS)
    assert kind.answering_engine() == "podman"
    engines(docker=ENGINE_RUNS, podman=ENGINE_RUNS)
    assert kind.answering_engine() == "docker"


def test_an_engine_that_hangs_is_given_up(
    engines: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "ANSWER_S", 0.5)
    engines(docker="#!/bin/sh\nexec sleep 60\n", nerdctl=ENGINE_RUNS)
    assert kind.answering_engine() == "nerdctl"


def test_the_engine_that_kind_was_told_is_the_only_one_asked(
    engines: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(docker=ENGINE_RUNS)
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    assert kind.answering_engine() is None


def test_a_cluster_is_made_once_and_its_kubeconfig_is_ours_alone(
    programs: Path, cluster: KindCluster
) -> None:
    assert cluster.start("podman")
    assert not cluster.start("podman")
    named = f"--name {cluster.name} --kubeconfig {cluster.kubeconfig}"
    setting = f"--kubeconfig {cluster.kubeconfig} config set-context --current --namespace=backstay"
    assert calls(programs) == [
        "podman get clusters",
        f"podman create cluster {named}",
        f"kubectl {setting}",
        f"kubectl {setting}",
    ]
    assert bringup.controlplane() == cluster
    assert bringup.running() == {"kind cluster"}


def test_the_operator_gets_the_address_that_kind_wrote(cluster: KindCluster) -> None:
    cluster.start("docker")
    cluster.write_kubeconfig(cluster.operator_kubeconfig, "backstay", "a-token")
    written = json.loads(cluster.operator_kubeconfig.read_text())
    assert written["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:40000"
    assert written["users"] == [{"name": "backstay", "user": {"token": "a-token"}}]
    assert cluster.operator_kubeconfig.stat().st_mode & 0o077 == 0


def test_down_deletes_our_cluster_and_no_other(programs: Path, cluster: KindCluster) -> None:
    (programs / "clusters" / "somebody's").touch()
    cluster.start("docker")
    bringup.down()
    assert clusters(programs) == ["somebody's"]
    assert bringup.running() == set()
    asked = len(calls(programs))
    bringup.down()
    assert len(calls(programs)) == asked


def test_a_cluster_of_our_name_that_we_did_not_make_is_left_alone(
    programs: Path, cluster: KindCluster
) -> None:
    (programs / "clusters" / cluster.name).touch()
    with pytest.raises(RuntimeError, match="nothing here says that we made it"):
        cluster.start("docker")
    bringup.down()
    assert clusters(programs) == [cluster.name]


def test_an_interrupted_start_is_cleaned_up_by_the_next_one(
    programs: Path, cluster: KindCluster
) -> None:
    cluster.start("docker")
    cluster.kubeconfig.unlink()
    assert cluster.start("docker")
    assert [call.split()[1] for call in calls(programs) if call.startswith("docker")] == [
        *("get", "create", "delete", "get", "create")
    ]


def test_a_failed_creation_names_its_log_and_the_way_without_an_engine(
    programs: Path, cluster: KindCluster
) -> None:
    (programs / "no-image").touch()
    with pytest.raises(RuntimeError) as failure:
        cluster.start("docker")
    said = str(failure.value)
    assert "failed to pull image" in said
    assert "BACKSTAY_CONTROLPLANE=built" in said
    assert str(cluster.log) in said
    assert not cluster.is_ours()
    assert bringup.controlplane() != cluster


def test_without_its_engine_a_cluster_is_neither_made_anew_nor_forgotten(
    programs: Path, cluster: KindCluster
) -> None:
    cluster.start("docker")
    (programs / "engine-is-down").touch()
    with pytest.raises(RuntimeError, match="does docker run"):
        cluster.start("docker")
    with pytest.raises(RuntimeError, match="start docker and say `make down` again"):
        bringup.down()
    assert cluster.is_ours()
    (programs / "engine-is-down").unlink()
    bringup.down()
    assert clusters(programs) == []
