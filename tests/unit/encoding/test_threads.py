"""The CPU limit of the control group, in both versions."""

import pytest

from bloomweaver.encoding import threads


def available(tmp_path, files, *, membership="0::/\n", affinity=8):
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    (tmp_path / "membership").write_text(membership, encoding="ascii")
    return threads.available(affinity, cgroups=tmp_path / "cgroup", membership=tmp_path / "membership")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("150000 100000", 1), ("1600000 100000", 8)],
)
def test_the_quota_of_version_2_bounds_the_threads(tmp_path, limit, expected):
    assert available(tmp_path, {"cpu.max": limit + "\n"}) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("200000", 2), ("50000", 1)])
def test_the_quota_of_version_1_bounds_the_threads(tmp_path, quota, expected):
    files = {"cpu/cpu.cfs_quota_us": quota + "\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert available(tmp_path, files, membership="4:memory:/x\n3:cpu,cpuacct:/\n") == expected


def test_the_narrowest_group_above_the_process_counts(tmp_path):
    files = {"pod/cpu.max": "300000 100000", "pod/box/cpu.max": "max 100000"}
    assert available(tmp_path, files, membership="0::/pod/box\n") == 3


def test_a_group_of_version_1_is_found_by_the_path_of_the_process(tmp_path):
    files = {"cpu/pod/cpu.cfs_quota_us": "100000", "cpu/pod/cpu.cfs_period_us": "50000"}
    assert available(tmp_path, files, membership="3:cpu,cpuacct:/pod\n") == 2


def test_without_control_groups_the_affinity_counts(tmp_path):
    assert threads.available(3, cgroups=tmp_path / "none", membership=tmp_path / "none") == 3


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"memory.max": "536870912\n"}, "0::/\n", 536870912),
        ({"memory.max": "max\n"}, "0::/\n", None),
        ({"pod/memory.max": "100", "pod/box/memory.max": "max"}, "0::/pod/box\n", 100),
        ({"memory/pod/memory.limit_in_bytes": "1000"}, "4:memory:/pod\n", 1000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "4:memory:/\n", None),
    ],
)
def test_the_memory_limit_is_the_narrowest_of_the_groups(tmp_path, files, membership, expected):
    available(tmp_path, files, membership=membership)
    found = threads.memory_bytes(cgroups=tmp_path / "cgroup", membership=tmp_path / "membership")
    assert found == expected
