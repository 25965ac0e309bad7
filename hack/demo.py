"""`make demo`: from `kubectl apply` to confirmed recovery points on real ZFS hosts.

KEEP=1 leaves everything running; otherwise what the demo started is stopped at its end.
"""

import base64
import json
import os
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worlds import api, bringup, cache, identity, operator_process, progress
from worlds.kubeapi import KubeApi

EXAMPLES = cache.PROJECT / "examples" / "two-hosts"
PAIRS = ("tree", "vm-100")
VOLUMES = tuple(f"tank/demo/vm-100-disk-{number}" for number in range(4))
FILE_SYSTEMS = ("tank/demo", "tank/demo/tree", "tank/demo/tree/home", "tank/demo/tree/home/ada")
# Ten times what an idle machine takes; a slow demo is better than a failed one.
FIRST_POINT_S, NEXT_POINT_S = 600.0, 300.0
POLL_S, HEARTBEAT_S = 2.0, 15.0
WIDTH = 100


def title(text: str) -> None:
    """Begin a chapter."""
    print(f"\n\033[1m━━ {text} {'━' * max(0, WIDTH - len(text) - 4)}\033[0m", flush=True)


def prepare_source(host: api.LabHost) -> None:
    """A tree of file systems and four volumes are there, with something in them."""
    commands = [f"zfs create -p {name}" for name in FILE_SYSTEMS]
    commands += [f"zfs list {name} >/dev/null 2>&1 || zfs create -V 64M {name}" for name in VOLUMES]
    host.run(" && ".join(f"{{ {command}; }}" for command in commands) + " && udevadm settle")
    write_data(host)


def write_data(host: api.LabHost) -> None:
    """Every file system and every volume has new content."""
    random = "dd if=/dev/urandom bs=64k count=16 status=none"
    commands = [f"{random} of=/{name}/data-$(date +%s%N)" for name in FILE_SYSTEMS[1:]]
    commands += [f"{random} of=/dev/zvol/{name} conv=notrunc,fsync" for name in VOLUMES]
    host.run(" && ".join(commands))


def rendered(file: Path, source: api.LabHost, target: api.LabHost) -> str:
    """The manifest with the lab's addresses and keys in it."""
    values = {"SSH_KEY_B64": base64.b64encode(source.key_path.read_bytes()).decode()}
    for prefix, host in (("FRA", source), ("MUC", target)):
        values[f"{prefix}_ADDRESS"] = host.address
        values[f"{prefix}_PORT"] = str(host.port)
        values[f"{prefix}_HOSTKEY"] = host.host_keys[0]
    return string.Template(file.read_text(encoding="utf-8")).substitute(values)


def pairs(plane: KubeApi) -> list[dict[str, Any]]:
    """The demo's ReplicationPairs as they are now."""
    answer = json.loads(plane.kubectl("get", "rpair", *PAIRS, "-o", "json"))
    found: list[dict[str, Any]] = answer["items"]
    return found


def name_of(found: dict[str, Any]) -> str:
    """The object's name."""
    return str(found["metadata"]["name"])


def point(found: dict[str, Any]) -> str:
    """The snapshot that can be recovered; empty without any."""
    return str(found.get("status", {}).get("recoveryPoint", {}).get("snapshot", ""))


def describe_briefly(found: dict[str, Any]) -> str:
    """One line: recovery point and conditions, with the message of what is not as it should be."""
    status = found.get("status", {})
    words = [f"{name_of(found)}: {point(found) or 'no recovery point yet'}"]
    for condition in status.get("conditions", []):
        words.append(f"{condition['type']}={condition['status']}")
        if condition["type"] == "Ready" and condition["status"] != "True":
            words.append(f"({condition['reason']}: {condition['message']})")
    return " ".join(words)


def await_pairs(
    plane: KubeApi, what: str, within_s: float, done: Callable[[dict[str, Any]], bool]
) -> None:
    """Wait until `done` holds for every pair; prints each change on the way."""
    began = spoke = time.monotonic()
    said: dict[str, str] = {}
    while True:
        found = pairs(plane)
        news = {name_of(each): describe_briefly(each) for each in found}
        for line in (line for name, line in news.items() if said.get(name) != line):
            progress.say(line)
        now = time.monotonic()
        if all(done(each) for each in found):
            print(f"{what}: after {now - began:.1f} s")
            return
        if news != said:
            said, spoke = news, now
        elif now - spoke > HEARTBEAT_S:
            progress.say(f"waiting for {what} ({now - began:.0f} s)")
            spoke = now
        fail_early(what, now - began, within_s)
        time.sleep(POLL_S)


def fail_early(what: str, waited_s: float, within_s: float) -> None:
    """An operator that ended, or a wait that is too long, is an error."""
    operator = operator_process.process()
    if operator.pid() is None:
        raise RuntimeError(f"the operator ended:\n{operator.tail(25)}")
    if waited_s > within_s:
        raise RuntimeError(f"{what}: not within {within_s:.0f} s (operator's log: {operator.log})")


def is_protected(found: dict[str, Any]) -> bool:
    """Whether there is a recovery point within the RPO."""
    conditions = found.get("status", {}).get("conditions", [])
    met = any(each["type"] == "RPOMet" and each["status"] == "True" for each in conditions)
    return bool(point(found)) and met


def snapshots(host: api.LabHost, dataset: str) -> dict[str, str]:
    """GUID → name of the snapshots and bookmarks of one dataset, oldest first."""
    argv = f"zfs list -Hp -d 1 -t snapshot,bookmark -o guid,name -s createtxg {dataset}"
    rows = [line.split("\t") for line in host.run(argv).splitlines()]
    return {guid: name[len(dataset) :] for guid, name in reversed(rows)}


def print_guids(source: api.LabHost, target: api.LabHost) -> None:
    """The newest snapshot of every replica has its GUID at the source, too; an error if not."""
    datasets = [*FILE_SYSTEMS[1:], *VOLUMES]
    print(f"{'DATASET ON ' + source.name:<28}{'SNAPSHOT':<48}{'GUID ON BOTH SIDES':<22}")
    for dataset in datasets:
        replica = dataset.replace("tank/demo/", "backup/backstay/fra/", 1)
        received = snapshots(target, replica)
        guid = next((guid for guid, name in received.items() if name.startswith("@")), None)
        if guid is None or guid not in snapshots(source, dataset):
            raise RuntimeError(f"{target.name}:{replica} has no snapshot of {dataset}")
        print(f"{dataset:<28}{received[guid]:<48}{guid:<22}")


def show_refusal(plane: KubeApi) -> None:
    """The API server refuses replication without a versioned backup, and says what to do."""
    file = EXAMPLES / "refused" / "replication-without-backup.yaml"
    print(file.read_text(encoding="utf-8"))
    try:
        plane.kubectl("apply", "-f", str(file))
    except RuntimeError as refusal:
        print(refusal)
        return
    raise RuntimeError("the API server took a policy with replication and without a backup")


def show_state(plane: KubeApi, source: api.LabHost, target: api.LabHost) -> None:
    """What kubectl, both hosts and the metrics say."""
    title("kubectl get bsite,ppol,rpair -o wide")
    print(plane.kubectl("get", "bsite,ppol,rpair", "-o", "wide"))
    title("The same snapshots on both sides, by GUID")
    print_guids(source, target)
    title("kubectl describe rpair vm-100")
    print(plane.kubectl("describe", "rpair", "vm-100"))
    title("Lag as metrics")
    lines = operator_process.metrics().splitlines()
    print("\n".join(line for line in lines if line.startswith("backstay_recovery_point_lag")))


def run() -> None:
    """The whole path."""
    title("A Kubernetes API, two ZFS hosts, the operator")
    if len(identity.host_names()) < 2:
        raise RuntimeError("the demo needs two hosts: leave LAB_HOSTS out, or say 2 or more")
    plane, hosts = bringup.up()
    source, target = hosts[0], hosts[1]
    title("Something to lose: a tree of file systems and four volumes on zfs-a")
    prepare_source(source)
    target.run("zfs create -p -o canmount=off backup/backstay")
    print(source.run("zfs list -r -o name,type,used tank/demo"))
    title("kubectl apply -f examples/two-hosts/")
    for file in sorted(EXAMPLES.glob("*.yaml")):
        print(plane.kubectl("apply", "-f", "-", given=rendered(file, source, target)), end="")
    await_pairs(plane, "first recovery points", FIRST_POINT_S, is_protected)
    title("New data on zfs-a, and a pass is asked for at once")
    before = {name_of(each): point(each) for each in pairs(plane)}
    write_data(source)
    request = f"backstay.dev/requested-at={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
    print(plane.kubectl("annotate", "--overwrite", "rpair", *PAIRS, request), end="")
    await_pairs(
        plane,
        "next recovery points",
        NEXT_POINT_S,
        lambda each: is_protected(each) and point(each) != before[name_of(each)],
    )
    show_state(plane, source, target)
    title("Replication is not a backup: the API server refuses this policy")
    show_refusal(plane)


def main() -> None:
    """Run the demo; stops what it started unless KEEP=1."""
    began = time.monotonic()
    before = bringup.running()
    keep = os.environ.get("KEEP", "") not in ("", "0")
    try:
        run()
        title(f"Done in {time.monotonic() - began:.0f} s")
    except RuntimeError as failure:
        left = "all is left running" if keep else "`make demo KEEP=1` leaves all running"
        sys.exit(f"demo: {failure}\n({left}, to look around; make down stops it)")
    finally:
        if not keep:
            bringup.stop(bringup.running() - before)
    if keep or before:
        print(
            'Still running: eval "$(make -s env)", then kubectl get backstay; make down stops it.'
        )


if __name__ == "__main__":
    main()
