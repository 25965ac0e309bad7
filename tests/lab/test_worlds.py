"""The lab keeps what it promises to the tests that stand on it."""

from collections.abc import Callable

from worlds.api import LabHost


def test_both_hosts_have_their_pools(lab_hosts: list[LabHost]) -> None:
    for host in lab_hosts:
        assert host.run("zpool list -H -o name,health").split() == [
            *("backup", "ONLINE", "tank", "ONLINE")
        ]


def test_the_first_host_reaches_the_second_with_a_pinned_key(lab_hosts: list[LabHost]) -> None:
    first, second = lab_hosts[:2]
    assert first.run(f"ssh {second.name} hostname").strip() == second.name


def test_a_dataset_root_is_the_tests_own(
    lab_hosts: list[LabHost], lab_dataset_roots: Callable[..., str]
) -> None:
    host = lab_hosts[0]
    root = lab_dataset_roots(host, "backup")
    assert host.run(f"zfs list -H -o name -r {root}").split() == [root]
