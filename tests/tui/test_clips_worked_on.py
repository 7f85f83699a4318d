"""Clips by keyboard: rated, thrown away and taken back, exported, made anew from a stage on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import screen_text, until, until_quiet, until_text
from studio_fixtures import FakeWorkers, make_clip
from textual.pilot import Pilot

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.outputs import read_clip, write_sidecar
from vcd_studio.project.project import Project
from vcd_studio.project.settings import GenerationSettings
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.widgets.clips.film import Film
from vcd_studio.tui.widgets.clips.player import Player

Studio = Callable[..., StudioApp]


@pytest.fixture
def folder(project: Project) -> Path:
    """A clip whose recipe is whole."""
    folder = make_clip(project, "running")
    recipe = {**read_clip(folder).sidecar, "written": "a dog", "pack": "pocket", "identities": [], "stages": {"t2v": {"steps": 4}}}
    generation = GenerationSettings().with_overrides({"stages": ["t2v", "tiled"]}).model_dump(mode="json", exclude={"seeds"})
    write_sidecar(folder, {**recipe, "generation": {key: value for key, value in generation.items() if value is not None}})
    return folder


async def the_clip(pilot: Pilot[int]) -> None:
    await until_text(pilot, "photo 1 of 4")
    await pilot.press("5")
    await until_text(pilot, "clip 1 of 1")
    await until_quiet(pilot)


async def test_plus_and_minus_rate(studio: Studio, project: Project, folder: Path) -> None:
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        await pilot.press("plus")
        await until(pilot, lambda: read_clip(folder).rating == 1, "one star")
        for stars in (2, 3):
            await pilot.press("plus")
            await until(pilot, lambda stars=stars: read_clip(folder).rating == stars, "a star more")  # type: ignore[misc]
        await until_text(pilot, "Rated ★★★")
        await pilot.press("minus")
        await until(pilot, lambda: read_clip(folder).rating == 2, "a star less")


async def test_a_clip_goes_to_the_trash_and_comes_back(studio: Studio, project: Project, folder: Path) -> None:
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        await pilot.press("x")
        await until_text(pilot, "No clip yet")
        assert not folder.exists()
        assert (folder.parent / ".trash" / folder.name / "clip.toml").is_file()
    async with studio(project.path).run_test(size=(120, 30)) as pilot:  # the trash is on the disk: another studio knows it too
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "No clip yet")
        await until_quiet(pilot)
        await pilot.press("u")
        await until_text(pilot, "clip 1 of 1")
        assert (folder / "clip.toml").is_file()


async def test_what_took_its_name_meanwhile_is_not_overwritten(studio: Studio, project: Project, folder: Path) -> None:
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        await pilot.press("x")
        await until_text(pilot, "No clip yet")
        folder.mkdir()
        await pilot.press("u")
        await until_text(pilot, "is the name of another clip by now")


async def test_stages_are_made_anew_by_other_settings(
    studio: Studio, project: Project, folder: Path, store: Store, workers: FakeWorkers
) -> None:
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        await pilot.press("r")
        await until_text(pilot, "From running")
        await pilot.press("tab", *"frames=4", "ctrl+s")
        await until_text(pilot, "frames cannot change while the frames of t2v are kept")
        await pilot.press(*["backspace"] * 8, *"tiled_strength=0.4", "ctrl+s")
        await until(pilot, lambda: len(store.jobs()) == 1, "a job")
        (job,) = store.jobs()
        assert [stage.name for stage in store.stages(job.id)] == ["tiled", "save"]
        assert job.settings["parent"]["stages"] == ["t2v"]
        assert job.settings["generation"]["tiled_strength"] == 0.4
        await until(pilot, lambda: workers.asked != [], "a worker for it")


async def test_a_clip_that_cannot_be_reproduced_says_why(studio: Studio, project: Project, folder: Path) -> None:
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        await pilot.press("R")
        await until_text(pilot, "The pack pocket is not what it was when")


async def test_a_clip_is_exported(studio: Studio, project: Project, folder: Path, tmp_path: Path) -> None:
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        await pilot.press("e")
        await until_text(pilot, "Export running")
        await pilot.press("right", "tab", *"t2v", "enter", "ctrl+u", *str(tmp_path / "rex.gif"), "enter")
        await until_text(pilot, "Written:")
        assert (tmp_path / "rex.gif").read_bytes().startswith(b"GIF8")
        assert "rex.gif" in screen_text(pilot)


async def test_the_filter_takes_ratings_stages_and_days_and_a_wrong_one_is_a_sentence(studio: Studio, project: Project) -> None:
    read_clip(make_clip(project, "running")).rate(4)
    make_clip(project, "sleeping")
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 2")
        await pilot.press("slash", *"rating:")
        await until_text(pilot, '"" is no rating; write rating:4 or rating:>=3.')
        await pilot.press(">", "3")
        await until_text(pilot, "1 of 2")
        await until_text(pilot, "4 running-001")
        await pilot.press(*" stage:face")
        await until_text(pilot, "no clip is like that")
        await pilot.press("escape")
        await until_text(pilot, "clip 1 of 2")


async def test_the_order_is_shown_and_the_cursor_stays_on_its_clip(studio: Studio, project: Project) -> None:
    for name in ("a", "b", "c"):
        make_clip(project, name)
    read_clip(project.outputs_dir / "c-001").rate(5)
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 3 · order: newest")
        await pilot.press("o", "o")
        await until_text(pilot, "clip 2 of 3 · order: best")
        assert screen_text(pilot).index("c-001") < screen_text(pilot).index("a-001") < screen_text(pilot).index("b-001")


async def test_a_marked_clip_is_shown_beside_another_of_another_length(studio: Studio, project: Project) -> None:
    make_clip(project, "running")
    make_clip(project, "sleeping", frames=4)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "clip 1 of 2")
        await pilot.press("c")
        await until_text(pilot, "m marks a clip")
        await pilot.press("m")
        await until_text(pilot, "◆ · running-001")
        await pilot.press("right", "c")
        await until_text(pilot, "running-001 · tiled")
        await until_text(pilot, "The 4 frames that were compared do not differ. The longer has 6 frames.")
        await until_text(pilot, "prompt")
        await pilot.press("end")
        await until_text(pilot, "6/6")
        await pilot.press("i")
        await until_text(pilot, "sleeping-001 · tiled: a <rex> dog sleeping")
        await pilot.press("escape", "p")
        player = app.screen.query_one(Player)
        await until(pilot, lambda: all(film.prepared == len(film.frames) for film in list(player.query(Film))[:2]), "both films ready")
        await until(pilot, lambda: player.index == 2, "it plays round")
        await pilot.press("shift+tab")
        await until_text(pilot, "sleeping-001 · t2v")
        await pilot.press("c")
        await until(pilot, lambda: "running-001" not in screen_text(pilot), "this one alone")


async def test_stages_side_by_side_say_how_far_they_lie_apart(studio: Studio, project: Project, folder: Path) -> None:
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        await the_clip(pilot)
        await pilot.press("enter", "b")
        await until_text(pilot, "6 of 6 frames differ")
        await until_text(pilot, "to which 96 × 72 was resized.")
        await until_text(pilot, "steps")


async def test_a_clip_made_once_more_says_whether_it_is_the_same(studio: Studio, project: Project, folder: Path, store: Store) -> None:
    (job,) = [store.enqueue("generate", project.path, "a dog", ["save"], {"reproduces": {"id": folder.name, "clip": str(folder)}})]
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        again = make_clip(project, "running")
        verdict = {"id": folder.name, "clip": str(folder), "same": True, "verdict": "All 6 frames are the same, bit for bit."}
        write_sidecar(again, {**read_clip(again).sidecar, "reproduces": verdict})
        store.claim(WorkerId(4242, "1", "boot"), "cpu")
        store.finish(job.id, {"clip": str(again)})
        await until_text(pilot, "running-001 once more: All 6 frames are the same, bit for bit.")
        await until_text(pilot, "of 2")
        await pilot.press("i")
        await until_text(pilot, "Made once more as running-002. All 6 frames are the same")
        await pilot.press("escape", "right")
        await until_text(pilot, "clip 2 of 2")
        await pilot.press("i")
        await until_text(pilot, "This is running-001 once more.")


async def test_metrics_are_shown(studio: Studio, project: Project, folder: Path) -> None:
    report = {"seam_score": 1.02, "memory": ["decodes in slices"]}
    write_sidecar(folder, {**read_clip(folder).sidecar, "stages": {"t2v": {"steps": 4, "seconds": 2.5}, "tiled": {"report": report}}})
    async with studio(project.path).run_test(size=(120, 30)) as pilot:
        await the_clip(pilot)
        await pilot.press("f")
        await until_text(pilot, "seconds: 2.5")
        await until_text(pilot, "seam score (1: no seam to be seen): 1.02")
        await until_text(pilot, "given up for memory: decodes in slices")


async def test_a_clip_that_failed_says_why_and_is_tried_again(studio: Studio, project: Project, folder: Path, store: Store) -> None:
    begun, running = project.new_clip("failing"), project.new_clip("running now")
    for title, kept in (("a dog failing", begun), ("a dog running", running)):
        job = store.enqueue("generate", project.path, title, ["t2v", "save"], {"prompt": title})
        store.claim(WorkerId(4242, "1", "boot"), "cpu")
        store.update_result(job.id, {"clip": str(kept)})
    store.fail(1, "The frames broke; mend them.", "Traceback: deep inside")
    (project.outputs_dir / "my notes").mkdir()
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("5")
        await until_text(pilot, "of 2")
        await until_text(pilot, "✗ failing-001")
        await pilot.press("slash", *"failed", "enter", "home")
        await until_text(pilot, "The frames broke; mend them.")
        await until_text(pilot, "r tries again")
        await pilot.press("i")
        await until_text(pilot, "deep inside")
        await pilot.press("escape", "r")
        await until(pilot, lambda: store.job(1).state == "queued", "the job in the line again")
        await until(pilot, lambda: "✗" not in screen_text(pilot), "what is worked on is no failure")
