"""Many clips at once: their recipes are read once, and what is kept of them is never trusted further than a cache may be."""

import datetime
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from vcd_studio.locations import cache_dir
from vcd_studio.project import clip_index
from vcd_studio.project.clip_filter import facts_of
from vcd_studio.project.clip_index import IN_BRIEF, brief_of
from vcd_studio.project.outputs import MADE, Clip, read_clip, write_sidecar
from vcd_studio.project.project import Project

RECIPE = {
    "prompt": "a <rex> dog in the snow",
    "seed": 7,
    "pack": "pocket",
    "fps": 8,
    "identities": [{"name": "rex", "sha256": "0" * 64}],
    "stages": {"t2v": {"steps": 25}, "face": {"steps": 20}},
    "models": {"unet": "1" * 64},
    "finished": datetime.datetime(2026, 1, 2, 3, 4, 5),
}


@pytest.fixture
def three(project: Project) -> list[Path]:
    """Folders of three clips, the one made last first."""
    folders = [project.new_clip(name) for name in ("one", "two", "three")]
    for at, folder in enumerate(folders):
        write_sidecar(folder, {**RECIPE, "seed": at, "finished": f"2026-01-0{3 - at}T00:00:00Z"})
    return folders


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose recipe was read, as it goes on."""
    folders: list[Path] = []
    monkeypatch.setattr(clip_index, "read_clip", lambda folder: folders.append(folder) or read_clip(folder))
    return folders


def file() -> Path:
    return cache_dir() / clip_index.FILE


def told(clips: list[Clip]) -> list[tuple[Any, ...]]:
    return [(clip.folder, clip.recipe, clip.problem, clip.made, facts_of(clip)) for clip in clips]


def test_a_recipe_is_read_once_and_again_when_it_was_written_anew(project: Project, three: list[Path], read: list[Path]) -> None:
    first = project.clips()
    assert sorted(read) == sorted(three)
    read.clear()
    assert told(project.clips()) == told(first)
    assert [clip.folder for clip in first] == three
    assert not read
    write_sidecar(three[1], {"prompt": "another", "finished": "2027-01-01T00:00:00Z"})
    assert project.clips()[0].recipe["prompt"] == "another"
    assert read == [three[1]]


def test_a_clip_of_the_index_has_its_whole_recipe_when_it_is_asked_for(project: Project, three: list[Path]) -> None:
    project.clips()
    clip = project.clips()[0]
    assert "models" not in clip.recipe
    assert clip.sidecar == read_clip(three[0]).sidecar
    assert clip.sidecar["models"] == RECIPE["models"]
    assert clip.sidecar["stages"]["t2v"] == {"steps": 25}


def test_a_recipe_that_went_away_meanwhile_says_nothing(project: Project, three: list[Path]) -> None:
    clip = project.clips()[0]
    (three[0] / "clip.toml").unlink()
    assert clip.sidecar == {}
    assert clip.recipe["seed"] == 0


def test_what_went_into_the_trash_is_not_listed_and_comes_back(project: Project, three: list[Path], read: list[Path]) -> None:
    project.clips()
    three[0].rename(project.path / "away")
    assert [clip.folder for clip in project.clips()] == three[1:]
    (project.path / "away").rename(three[0])
    read.clear()
    assert [clip.folder for clip in project.clips()] == three
    assert not read


def test_a_broken_recipe_is_looked_at_each_time(project: Project, three: list[Path], read: list[Path]) -> None:
    (three[0] / "clip.toml").write_text("no toml")
    for _ in range(2):
        read.clear()
        assert [clip.folder for clip in project.clips() if clip.problem] == [three[0]]
        assert three[0] in read


@contextmanager
def torn() -> Iterator[None]:
    file().write_bytes(b"SQLite format 3\0" + os.urandom(8000))
    yield


@contextmanager
def empty() -> Iterator[None]:
    file().write_bytes(b"")
    yield


@contextmanager
def of_another_kind() -> Iterator[None]:
    with closing(sqlite3.connect(file())) as connection, connection:
        connection.execute("UPDATE clip SET brief = CASE size % 2 WHEN 0 THEN '[1]' ELSE '{\"seed\"' END")
    yield


@contextmanager
def a_folder() -> Iterator[None]:
    file().unlink()
    file().mkdir()
    yield


@contextmanager
def in_use() -> Iterator[None]:
    with closing(sqlite3.connect(file(), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.parametrize("harm", [torn, empty, of_another_kind, a_folder, in_use])
def test_whatever_becomes_of_the_index_clips_are_listed(
    harm: Any, project: Project, three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_index, "PATIENCE", 0.01)
    first = told(project.clips())
    with harm():
        assert told(project.clips()) == first
        assert told(project.clips()) == first


def test_a_torn_index_is_begun_anew(project: Project, three: list[Path], read: list[Path]) -> None:
    project.clips()
    file().write_bytes(b"no database at all" * 100)
    project.clips()
    project.clips()
    read.clear()
    project.clips()
    assert not read


def test_who_leaves_in_the_middle_goes_on_from_there(
    project: Project, three: list[Path], read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_index, "AT_ONCE", 1)
    whole = clip_index.read_clip

    def leaves(folder: Path) -> Clip:
        if len(read) == 2:
            raise KeyboardInterrupt
        return whole(folder)

    monkeypatch.setattr(clip_index, "read_clip", leaves)
    with pytest.raises(KeyboardInterrupt):
        project.clips()
    monkeypatch.setattr(clip_index, "read_clip", whole)
    read.clear()
    assert len(project.clips()) == 3
    assert len(read) == 1


VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text() | some.dates() | some.datetimes(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=4) | some.just("name"), inner, max_size=3),
    max_leaves=6,
)
KEYS = some.sampled_from([*IN_BRIEF, *MADE, "identities", "stages", "reproduces", "models"])


@given(some.dictionaries(KEYS, VALUES))
def test_a_brief_comes_back_as_it_was_or_not_at_all(recipe: dict[str, Any]) -> None:
    brief = brief_of(recipe)
    held = clip_index._held(brief)
    assert held is None or clip_index._brief(held) == brief
    assert "models" not in brief
