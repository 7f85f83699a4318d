"""The training of an identity from its screen: runs side by side, which of them prompts use, and the running one paused and stopped."""

from collections.abc import Callable

import pytest
from conftest import screen_text, until, until_text
from studio_fixtures import make_run

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.widgets.training.curve import Curve
from vcd_studio.tui.widgets.training.runs import RunColumn

Studio = Callable[..., StudioApp]


@pytest.fixture
def trained(project: Project) -> Project:
    """The identity rex alone, with three runs: 40 steps, 25 steps with its settings recorded, and one that is not finished."""
    (project.path / "identities" / "mia").rename(project.path / "was-mia")
    rex = project.identity("rex")
    second, third = rex.new_run(), rex.new_run()
    make_run(second, 25)
    how = 'method = "tokens"\nsteps = 25\ntokens = 8\nlearning_rate = 0.002\nseed = 9\n'
    (second / "run.toml").write_text(f"steps = 25\nsteady_loss = 0.08442\n[settings]\n{how}")
    make_run(third, 10)
    (third / "tokens.safetensors").unlink()
    return project


def columns(app: StudioApp) -> list[RunColumn]:
    return [column for column in app.screen.query(RunColumn) if column.display]


async def test_runs_stand_side_by_side_and_one_is_chosen(studio: Studio, trained: Project) -> None:
    app = studio(trained.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_text(pilot, "run-003 is not finished")
        assert {curve.title for curve in app.screen.query("TrainingPanel Curve").results(Curve) if curve.points} == {"loss", "norm"}
        await pilot.press("r")
        await until(pilot, lambda: len(columns(app)) == 3, "three columns")
        await until_text(pilot, "0.0844 · 8 tokens")
        await until_text(pilot, "run-002 · used by prompts")
        await until_text(pilot, "step 2")
        await pilot.press("U")
        await until_text(pilot, '"run-003" of "rex" is not finished')
        await pilot.press("enter", "less_than_sign", "less_than_sign")
        await until_text(pilot, "U uses this one")
        await pilot.press("U")
        await until_text(pilot, "run-001 · used by prompts")
        assert trained.identity("rex").chosen_run == "run-001"
        await pilot.press("r")
        await until_text(pilot, "photo 1 of 4")


async def test_of_runs_with_a_steady_loss_the_nearest_is_named(studio: Studio, trained: Project) -> None:
    first = trained.path / "identities" / "rex" / "trained" / "run-001"
    (first / "run.toml").write_text("steps = 40\nsteady_loss = 0.08139\n")
    app = studio(trained.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_text(pilot, "run-003 is not finished")
        await pilot.press("less_than_sign", "less_than_sign")
        await until_text(pilot, "U uses this one · steady loss 0.0814, the lowest")
        await pilot.press("r")
        await until_text(pilot, "run-001 · nearest")
        assert screen_text(pilot).count("nearest") == 1


async def test_a_narrow_screen_shows_two_runs_with_the_shown_one(studio: Studio, trained: Project) -> None:
    app = studio(trained.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("r")
        await until(pilot, lambda: len(columns(app)) == 2, "two columns")
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: columns(app)[0].has_class("-shown"), "round to the first")
        assert "run-001" in screen_text(pilot)


async def test_again_with_other_settings_begins_at_those_of_the_shown_run(studio: Studio, trained: Project, store: Store) -> None:
    app = studio(trained.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("less_than_sign", "T")
        await until_text(pilot, "0.002")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(store.jobs()) == 1, "the job")
        training = store.jobs()[0].settings["training"]
        assert (training["steps"], training["tokens"], training["learning_rate"], training["seed"]) == (25, 8, 0.002, 9)


async def test_a_running_training_is_paused_gone_on_with_and_stopped(studio: Studio, trained: Project, store: Store) -> None:
    training = {"method": "tokens", "steps": 3000, "seed": 4}
    job = store.enqueue("train", trained.path, "train rex", ["train"], {"identity": "rex", "training": training})
    store.claim(WorkerId(4242, "1", "boot"), "cpu")
    store.update_result(job.id, {"run": str(trained.identity("rex").runs()[-1].folder)})
    app = studio(trained.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "▶ train rex")
        shown = app.screen.shown_run  # type: ignore[attr-defined]
        assert (shown.name, shown.steps, shown.settings["seed"]) == ("run-003", 3000, 4)
        await pilot.press("p")
        await until(pilot, lambda: store.job(job.id).request == "pause", "the request to pause")
        await until(pilot, lambda: app.snapshot.jobs[0].request == "pause", "the request seen")
        await pilot.press("p")
        await until(pilot, lambda: store.job(job.id).request is None, "going on")
        await pilot.press("c")
        await until_text(pilot, "Stop #1 train rex?")
        await pilot.press("y")
        await until(pilot, lambda: store.cancel_requested(job.id), "the request to stop")


async def test_without_a_run_or_a_job_the_keys_say_so(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "mia (1 of 2")
        for key, words in (("r", "Nothing is trained yet"), ("p", "Nothing of this identity"), ("U", "Nothing is trained yet")):
            await pilot.press(key)
            await until_text(pilot, words)
