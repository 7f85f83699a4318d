"""Main memory, and the container's share of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.doctor.memory import Limit, MemoryReading, cgroup_limit, check_memory, memory_groups

GIB = 2**30


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_version_2_takes_the_tightest_limit_above_and_counts_no_file_pages(tmp_path: Path) -> None:
    write(tmp_path / "memory.max", "max\n")
    write(tmp_path / "user.slice" / "memory.max", f"{8 * GIB}\n")
    write(tmp_path / "user.slice" / "memory.current", f"{5 * GIB}\n")
    write(tmp_path / "user.slice" / "memory.stat", f"anon 1\ninactive_file {2 * GIB}\n")
    write(tmp_path / "user.slice" / "job" / "memory.max", f"{16 * GIB}\n")
    assert cgroup_limit("0::/user.slice/job\n", tmp_path) == Limit(8 * GIB, 3 * GIB)


def test_version_1_says_no_limit_with_a_huge_number(tmp_path: Path) -> None:
    write(tmp_path / "memory" / "memory.limit_in_bytes", "9223372036854771712\n")
    membership = "5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n"
    assert cgroup_limit(membership, tmp_path) is None
    write(tmp_path / "memory" / "docker" / "abc" / "memory.limit_in_bytes", f"{4 * GIB}\n")
    write(tmp_path / "memory" / "docker" / "abc" / "memory.usage_in_bytes", f"{GIB}\n")
    assert cgroup_limit(membership, tmp_path) == Limit(4 * GIB, GIB)


def test_inside_a_container_the_root_is_its_own_group(tmp_path: Path) -> None:
    write(tmp_path / "memory.max", f"{6 * GIB}\n")
    assert cgroup_limit("0::/system.slice/docker-of-the-host\n", tmp_path) == Limit(6 * GIB, 0)


@given(st.text())
def test_any_membership_is_read_without_complaint(text: str) -> None:
    assert all(version in (1, 2) and path.startswith("/") for version, path in memory_groups(text))


@given(st.lists(st.sampled_from(["..", ".", "a", "b c", "…"]), max_size=6))
def test_no_path_leaves_the_tree(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    outside = tmp_path_factory.mktemp("cgroups")
    write(outside / "memory.max", "1")
    (outside / "tree").mkdir()
    assert cgroup_limit(f"0::/{'/'.join(parts)}", outside / "tree") is None


@pytest.mark.parametrize(
    ("reading", "state", "says"),
    [
        (MemoryReading(64 * GIB, 60 * GIB, 0, None), "ok", "no swap"),
        (MemoryReading(64 * GIB, 60 * GIB, GIB, Limit(2**50, 0)), "ok", "64.0 GiB, 60.0 GiB available, swap 1.0 GiB"),
        (MemoryReading(64 * GIB, GIB, 0, None), "warning", "1.0 GiB available"),
        (MemoryReading(6 * GIB, 5 * GIB, 0, None), "warning", "enough for pocket"),
        (MemoryReading(64 * GIB, 60 * GIB, 0, Limit(GIB, 0)), "fix", "1.0 GiB by this container's limit"),
        (MemoryReading(64 * GIB, 60 * GIB, 0, Limit(16 * GIB, 15 * GIB)), "warning", "1.0 GiB available (the machine has 64.0 GiB)"),
    ],
)
def test_memory_is_judged_by_what_may_be_used(reading: MemoryReading, state: str, says: str) -> None:
    found = check_memory(reading)
    assert found.state == state
    assert says in found.found
    assert bool(found.remedy) == (state != "ok")


def test_the_remedy_for_a_container_is_not_another_machine() -> None:
    assert "container" in check_memory(MemoryReading(64 * GIB, 60 * GIB, 0, Limit(GIB, 0))).remedy
    assert "machine" in check_memory(MemoryReading(GIB, GIB, 0, None)).remedy
