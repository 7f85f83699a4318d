"""A clip forked on the Queue screen: its form, what is wrong with it, the cost, and yes or no."""

from collections.abc import Callable

from conftest import screen_text, until, until_text
from studio_fixtures import FakeWorkers

from vcd_studio.jobs.enqueue import enqueue_plan, plan_generate
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.screens.dialogs.form import Form
from vcd_studio.tui.widgets.queue.tree import JobTree

Studio = Callable[..., StudioApp]


async def test_a_failed_clip_is_forked_with_other_settings(studio: Studio, project: Project, store: Store, workers: FakeWorkers) -> None:
    plan = plan_generate(project, text="a <rex> dog", stages=["t2v", "face"], store=store)
    (job,) = enqueue_plan(store, project, plan)
    store.cancel(job.id)
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until(pilot, lambda: app.screen.query_one(JobTree).job == job.id, "the job under the cursor")
        await pilot.press("F")
        await until_text(pilot, f"Fork #{job.id}")
        await pilot.press("ctrl+s")  # from face on, the last of its stages
        await until_text(pilot, "has no frames of t2v; begin with t2v")
        await pilot.press("left", "tab", *"stepps=4", "ctrl+s")
        await until_text(pilot, "stepps")
        await pilot.press(*["backspace"] * 4, *"s=4", "tab", *"x", "ctrl+s")
        await until_text(pilot, '"x" is no seed')
        await pilot.press("backspace", "9", "enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm), "the question")
        await until_text(pilot, "t2v, face made anew with steps=4, seed 9")
        assert "1 clip, time not known before the first clip" in screen_text(pilot)
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, (Form, Confirm)), "the queue")
        assert len(store.jobs()) == 1
        await pilot.press("F")
        await until_text(pilot, f"Fork #{job.id}")
        await pilot.press("left", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Confirm), "the question")
        await pilot.press("y")
        await until(pilot, lambda: len(store.jobs()) == 2, "the fork enqueued")
        assert [stage.name for stage in store.stages(store.jobs()[0].id)] == ["t2v", "face", "save"]
        await until(pilot, lambda: "ensure auto" in workers.asked, "a worker looked for")


async def test_a_training_cannot_be_forked(studio: Studio, project: Project, store: Store) -> None:
    store.enqueue("train", project.path, "train rex", ["train"], {})
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until(pilot, lambda: app.screen.query_one(JobTree).job == 1, "the job under the cursor")
        await pilot.press("F")
        await until_text(pilot, "There is no clip under the cursor.")
