"""The mouse where a person would click, and the preview of the running step beside its log."""

from collections.abc import Callable

from conftest import until, until_quiet, until_text
from studio_fixtures import make_queue, subject

from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.widgets.chrome.lines import Place
from vcd_studio.tui.widgets.pictures.grid import PictureGrid, TileView
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.prompts.expansion import Expansion

Studio = Callable[..., StudioApp]


async def test_tabs_pictures_and_rows_take_clicks(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await until_quiet(pilot)
        tiles = list(app.screen.query(TileView))
        await pilot.click(tiles[2].query_one(Picture))
        await until_text(pilot, "photo 3 of 4")
        await pilot.click(tiles[2].query_one(Picture))
        await until(pilot, lambda: app.screen.has_class("-large"), "the photo large")
        assert app.screen.query_one("#photos", PictureGrid).cursor == 2
        await pilot.click(next(place for place in app.screen.query(Place) if place.mode == "prompts"))
        await until_text(pilot, "2 prompts, 5 clips")
        expansion = app.screen.query_one(Expansion)
        await pilot.click(expansion, offset=(4, 4))
        await until(pilot, lambda: expansion.highlighted == 1, "the second prompt")


async def test_the_running_steps_preview_is_seen_and_follows(studio: Studio, project: Project, store: Store) -> None:
    make_queue(store, project)
    running = next(job for job in store.jobs() if job.state == "running")
    stage = store.stages(running.id)[1]
    app = studio(project.path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("4")
        await until_text(pilot, "no preview")
        picture = app.screen.query_one("#preview", Picture)
        before = None
        for step in (1, 5):
            path = project.path / f"step-{step}.png"
            subject(step).save(path)
            store.progress(stage.id, step, 20, f"step {step} of 20", str(path))
            await until(pilot, lambda path=path: picture.source is not None and picture.source.path == path, f"step {step}")  # type: ignore[misc]
            await until(pilot, lambda before=before: picture.encoded not in (None, before), "its picture")  # type: ignore[misc]
            before = picture.encoded
