"""Clips on disk."""

import datetime
import os
from pathlib import Path

import numpy as np
import pytest

from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.expansion import expand
from vcd_studio.project.outputs import discard, discarded, name_before, read_clip, restore, write_sidecar
from vcd_studio.project.project import Project
from vcd_studio.project.settings import GenerationSettings


def test_a_sidecar_takes_what_a_worker_has(project: Project) -> None:
    folder = project.new_clip("dog")
    recipe = {
        "prompt": 'a "<rex>" dog \x1b \udcff',
        "seed": np.int64(7),
        "metrics": {"seam": np.float32(1.0), "none": None},
        "settings": GenerationSettings(),
        "video": Path("clip.mp4"),
        "finished": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "seeds": (1, None, 2),
    }
    write_sidecar(folder, recipe)
    (clip,) = project.clips()
    assert clip.id == folder.name
    assert clip.problem is None
    assert clip.sidecar["prompt"] == 'a "<rex>" dog \x1b ?'
    assert clip.sidecar["seed"] == 7
    assert clip.sidecar["metrics"] == {"seam": 1.0}
    assert clip.sidecar["settings"]["seeds"] == [1]
    assert clip.sidecar["video"] == "clip.mp4"
    assert clip.sidecar["seeds"] == [1, 2]
    assert clip.sidecar["finished"].utcoffset() == datetime.timedelta(0)


def test_newest_first_and_a_broken_one_is_listed_with_its_problem(project: Project) -> None:
    for index, when in enumerate(("2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00Z", "2026-01-01T00:00:00")):
        write_sidecar(project.new_clip(f"clip {index}"), {"finished": when})
    broken = project.new_clip("broken")
    (broken / "clip.toml").write_text("no toml")
    unfinished = project.new_clip("unfinished")
    clips = project.clips()
    assert [clip.id for clip in clips] == ["broken-001", "clip-1-001", "clip-0-001", "clip-2-001"]
    assert clips[0].problem is not None
    assert "is not valid TOML" in clips[0].problem
    assert unfinished.is_dir()


def test_stages_in_the_order_they_ran(project: Project) -> None:
    folder = project.new_clip("dog")
    for stage in ("tiled", "face", "t2v"):
        (folder / "stages" / stage / "frames").mkdir(parents=True)
    (folder / "stages" / "t2v" / "frames.part").mkdir()
    for index in (1, 0):
        (folder / f"stages/t2v/frames/{index:04d}.png").touch()
    write_sidecar(folder, {})
    stages = project.clips()[0].stages()
    assert list(stages) == ["t2v", "face", "tiled"]
    assert [path.name for path in stages["t2v"].frames] == ["0000.png", "0001.png"]
    assert stages["face"].frames == []


def test_a_clip_that_links_out_is_refused(project: Project, tmp_path: Path) -> None:
    folder = project.new_clip("dog")
    write_sidecar(folder, {})
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (folder / "clip.mp4").symlink_to(tmp_path / "secret.mp4")
    (project.path / "outputs" / "linked").symlink_to(tmp_path)
    (clip,) = project.clips()
    with pytest.raises(ProjectError, match="leads out"):
        _ = clip.video
    assert not clip.has_video
    (folder / "poster.png").symlink_to("film.png")
    assert not clip.has_poster
    (folder / "film.png").touch()
    assert clip.has_poster


def test_rating_stands_beside_the_recipe(project: Project) -> None:
    folder = project.new_clip("dog")
    recipe = write_sidecar(folder, {"seed": 1}).read_bytes()
    (clip,) = project.clips()
    assert clip.rating is None
    clip.rate(4)
    assert clip.rating == 4
    assert (folder / "clip.toml").read_bytes() == recipe
    with pytest.raises(InputError, match="give 1 to 5"):
        clip.rate(6)
    clip.rate(None)
    assert clip.rating is None


def test_a_pipe_in_place_of_a_file_stops_nothing(project: Project) -> None:
    folder = project.new_clip("dog")
    write_sidecar(folder, {})
    os.mkfifo(folder / "rating.toml")
    (project.path / "wildcards").mkdir()
    os.mkfifo(project.path / "wildcards" / "weather.txt")
    (project.path / "prompts.toml").unlink()
    os.mkfifo(project.path / "prompts.toml")
    os.mkfifo(project.path / "identities" / "rex" / "photos" / "four.png")
    assert project.clips()[0].rating is None
    for act in (project.prompt_list, lambda: expand("__weather__", project.wildcard_dir)):
        with pytest.raises(InputError, match=r"missing|has no list"):
            act()
    assert {"prompts.toml", "four.png"} <= {problem.file.name for problem in project.check()}


def test_the_trash_is_read_from_the_disk_the_last_first(project: Project) -> None:
    gone = []
    for _ in range(2):  # a second clip takes the name of the first
        folder = project.outputs_dir / "dog-001"
        folder.mkdir(parents=True)
        write_sidecar(folder, {"id": folder.name})
        gone.append(discard(read_clip(folder)))
    assert discarded(project.outputs_dir) == gone[::-1]
    assert [name_before(folder) for folder in gone] == ["dog-001", "dog-001"]
    assert restore(gone[1]) == folder
    with pytest.raises(InputError, match="is the name of another clip by now"):
        restore(gone[0])
    assert discarded(project.outputs_dir) == gone[:1]


def test_a_recipe_cannot_send_a_clip_elsewhere(project: Project) -> None:
    folder = project.new_clip("dog")
    write_sidecar(folder, {"id": "../../elsewhere"})
    assert restore(discard(read_clip(folder))) == folder
