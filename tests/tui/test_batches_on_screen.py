"""Jobs that were enqueued together: one line on the Queue screen that opens, and on which every verb is done to all of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import screen_text, until, until_text
from studio_fixtures import FakeWorkers, make_batch
from textual.pilot import Pilot

from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.widgets.queue.groups import MOST
from vcd_studio.tui.widgets.queue.tree import JobTree, Line

Studio = Callable[..., StudioApp]
BATCH = Line("20260102-030405-beef")


@pytest.fixture
def alone(store: Store, project: Project) -> int:
    """One more job, which is of no batch."""
    return store.enqueue("train", project.path, "train rex", ["train"], {"pack": "pocket", "training": {"steps": 9}}).id


@pytest.fixture
def batch(store: Store, project: Project, alone: int) -> list[int]:
    """Twelve clips before it: three done, one failed, one running, seven waiting."""
    return make_batch(store, project)


async def on_the_batch(pilot: Pilot[int]) -> JobTree:
    """The queue with the cursor on the batch's line."""
    await until_text(pilot, "photo 1 of 4")
    await pilot.press("4")
    await until_text(pilot, "12 clips")
    tree = pilot.app.screen.query_one(JobTree)
    await pilot.press("home")
    await until(pilot, lambda: tree.line == BATCH, "the cursor on the batch")
    return tree


def states(store: Store, jobs: list[int]) -> list[str]:
    return [store.job(job).state for job in jobs]


async def test_a_batch_is_one_line_that_opens_into_jobs_and_stages(
    studio: Studio, project: Project, store: Store, batch: list[int], workers: FakeWorkers
) -> None:
    workers.alive = True
    async with studio(project.path).run_test(size=(120, 40)) as pilot:
        tree = await on_the_batch(pilot)
        assert len(tree.root.children) == 2
        await until_text(pilot, "27% running     ETA 8:00 12 clips · 3 done · 1 failed · a <rex> dog {running|sitting} in the snow")
        await until_text(pilot, f"Log of #{batch[4]}")  # of the one that runs
        await until_text(pilot, "wears the weights of rex")
        await pilot.press("enter")
        await until_text(pilot, "t2v     ━━━━────── 10/25  2.0 s/step  ETA 0:30")
        assert f"ETA 1:00 #{batch[4]}" in screen_text(pilot)
        assert f"~1:00 #{batch[5]}" in screen_text(pilot)
        await pilot.press("down", "down")
        await until(pilot, lambda: tree.line.stage is not None and tree.jobs == (batch[4],), "a stage of the running job")
        await pilot.press("left", "left", "left")
        await until(pilot, lambda: tree.line == BATCH and "└" not in screen_text(pilot), "the batch closed")


async def test_pause_and_resume_take_all_that_they_fit(
    studio: Studio, project: Project, store: Store, batch: list[int], alone: int, workers: FakeWorkers
) -> None:
    async with studio(project.path).run_test(size=(120, 40)) as pilot:
        await on_the_batch(pilot)
        await pilot.press("p")
        await until(pilot, lambda: states(store, batch[5:]) == ["paused"] * 7, "the waiting ones paused")
        assert store.job(batch[4]).request == "pause"
        assert states(store, [*batch[:4], alone]) == ["done"] * 3 + ["failed", "queued"]
        await until_text(pilot, "7 paused")
        await pilot.press("p")
        await until(pilot, lambda: states(store, batch[5:]) == ["queued"] * 7, "in the line again")
        assert store.job(batch[4]).request is None
        await until(pilot, lambda: "ensure auto" in workers.asked, "a worker looked for")


async def test_cancel_asks_first_and_says_how_many(studio: Studio, project: Project, store: Store, batch: list[int], alone: int) -> None:
    app = studio(project.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await on_the_batch(pilot)
        await pilot.press("c")
        await until_text(pilot, "Cancel 8 jobs?")
        assert "1 running: stopped after the step" in screen_text(pilot)
        assert "4 of the batch have ended, and stay as they are." in screen_text(pilot)
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, Confirm), "the question gone")
        assert "cancelled" not in states(store, batch)
        await pilot.press("c")
        await until_text(pilot, "Cancel 8 jobs?")
        await pilot.press("y")
        await until(pilot, lambda: states(store, batch[5:]) == ["cancelled"] * 7, "the waiting ones cancelled")
        assert store.job(batch[4]).request == "cancel"
        assert states(store, [*batch[:4], alone]) == ["done"] * 3 + ["failed", "queued"]
        await until_text(pilot, "7 cancelled")
        await pilot.press("r")
        await until(pilot, lambda: states(store, [batch[3], *batch[5:]]) == ["queued"] * 8, "the ended ones back")
        assert [job.id for job in store.jobs(states=["queued"])] == [alone, batch[3], *batch[5:]]


async def test_a_batch_moves_as_a_block_and_runs_next(
    studio: Studio, project: Project, store: Store, batch: list[int], alone: int, workers: FakeWorkers
) -> None:
    def line() -> list[int]:
        return [job.id for job in store.jobs(states=["queued"])]

    async with studio(project.path).run_test(size=(120, 40)) as pilot:
        tree = await on_the_batch(pilot)
        await pilot.press("J")
        await until(pilot, lambda: line() == [alone, *batch[5:]], "the batch behind the other")
        await pilot.press("K")
        await until(pilot, lambda: line() == [*batch[5:], alone], "the batch before the other")
        await pilot.press("end")
        await until(pilot, lambda: tree.jobs == (alone,), "the cursor on the other")
        await pilot.press("K")
        await until(pilot, lambda: line() == [alone, *batch[5:]], "past all of the batch")
        await pilot.press("home")
        await until(pilot, lambda: tree.line == BATCH, "the cursor on the batch")
        await pilot.press("t")
        await until(pilot, lambda: line() == [*batch[5:], alone], "the batch next")
        await pilot.press("enter", *["down"] * 4)
        await until(pilot, lambda: tree.jobs == (batch[5],), "the first waiting one")
        await pilot.press("J")
        await until(pilot, lambda: line() == [batch[6], batch[5], *batch[7:], alone], "past one of the batch")


async def test_priority_is_changed_and_shown(studio: Studio, project: Project, store: Store, batch: list[int], alone: int) -> None:
    async with studio(project.path).run_test(size=(120, 40)) as pilot:
        tree = await on_the_batch(pilot)
        assert "prio" not in screen_text(pilot)
        await pilot.press("minus", "minus")
        await until_text(pilot, "prio -2…+0 12 clips")
        assert {store.job(job).priority for job in batch[4:]} == {-2}
        assert store.job(alone).priority == 0
        assert store.jobs(states=["queued"])[0].id == alone
        await pilot.press("end")
        await until(pilot, lambda: tree.jobs == (alone,), "the cursor on the other")
        await pilot.press("plus")
        await until_text(pilot, f"prio +1 #{alone}")


async def test_a_filter_finds_in_batches_and_verbs_take_what_it_found(
    studio: Studio, project: Project, store: Store, batch: list[int], alone: int
) -> None:
    app = studio(project.path)
    async with app.run_test(size=(120, 40)) as pilot:
        tree = await on_the_batch(pilot)
        await pilot.press("slash", *"queued sitting", "enter")
        await until_text(pilot, "4 of 12 clips")
        await until_text(pilot, f"#{batch[5]} a <rex> dog sitting")
        await pilot.press("home")
        await until(pilot, lambda: tree.line == BATCH and app.focused is tree, "the cursor on the batch")
        await pilot.press("c")
        await until_text(pilot, "Cancel 4 jobs?")
        await pilot.press("y")
        await until(pilot, lambda: states(store, batch[5::2]) == ["cancelled"] * 4, "the found ones cancelled")
        assert states(store, [*batch[6::2], alone]) == ["queued"] * 4
        await pilot.press("escape")
        await until_text(pilot, "12 clips")
        assert f"#{batch[5]} a <rex> dog sitting" not in screen_text(pilot)  # closed again, as it was before


async def test_a_batch_of_thousands_opens_into_those_that_matter(studio: Studio, project: Project, store: Store, tmp_path: Path) -> None:
    store.enqueue_all([(f"the {at}th dog", {}) for at in range(MOST + 50)], "generate", project.path, ["t2v"], batch="many")
    async with studio(project.path).run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, f"{MOST + 50} clips")
        tree = pilot.app.screen.query_one(JobTree)
        await pilot.press("enter", "end")
        await until_text(pilot, "… and 50 more; / finds them")
        await until(pilot, lambda: tree.line.more, "the cursor on what is not shown")
        await pilot.press("c")
        await until_text(pilot, "There is no job under the cursor.")
        await pilot.press("home", "p")
        await until(pilot, lambda: {job.state for job in store.jobs()} == {"paused"}, "all of them paused")
