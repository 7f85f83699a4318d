"""Pictures over a slow line: encoded once and kept on disk, frames dropped at the cap, the terminal asked again, text copied by OSC 52."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import until, until_quiet, until_text
from studio_fixtures import make_clip, make_queue, subject

from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project
from vcd_studio.terminal import Terminal
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.screens.dialogs.dialogs import Complaint
from vcd_studio.tui.widgets.clips.film import Bandwidth
from vcd_studio.tui.widgets.pictures import picture as pictures
from vcd_studio.tui.widgets.pictures.encode import Encoded
from vcd_studio.tui.widgets.pictures.kept import KeptPictures
from vcd_studio.tui.widgets.pictures.picture import Picture
from vcd_studio.tui.widgets.pictures.source import Source

Studio = Callable[..., StudioApp]
SIXEL = Terminal("sixel")


def test_frames_are_dropped_at_the_cap_and_come_again() -> None:
    bandwidth = Bandwidth(1000)
    drawn = [bandwidth.take(400, now / 10) for now in range(31)]
    assert drawn[:2] == [True, True]
    assert sum(drawn) * 400 <= 1000 + 3 * 1000
    assert sum(drawn[10:]) >= 4
    assert Bandwidth(1000).take(5000, 10.0)


def test_what_was_encoded_is_found_again_until_the_file_changes(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    subject(0).save(photo)
    source, kept = Source(photo), KeptPictures(tmp_path / "kept")
    path = kept.path(source, source.stamp(), (10, 5), SIXEL)
    assert kept.get(path) is None
    kept.put(path, Encoded(10, 5, data="\x1bPq#1~\x1b\\"))
    assert kept.get(path) == Encoded(10, 5, data="\x1bPq#1~\x1b\\")
    assert kept.path(source, source.stamp(), (10, 6), SIXEL) != path
    assert kept.path(source, source.stamp(), (10, 5), Terminal("sixel", 8, 16)) != path
    subject(3).save(photo)
    os.utime(photo, ns=(1, 1))
    assert kept.path(source, source.stamp(), (10, 5), SIXEL) != path


@pytest.mark.parametrize("broken", ["", "10 5\n", "10 5 99\nshort", "x y z\n", "\xff"])
def test_a_broken_file_is_encoded_again(tmp_path: Path, broken: str) -> None:
    (tmp_path / "a.sixel").write_text(broken, encoding="latin-1")
    assert KeptPictures(tmp_path).get(tmp_path / "a.sixel") is None


def test_the_oldest_go_where_there_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptPictures, "_put", 0)
    for at in range(5):
        (tmp_path / f"{at}.sixel").write_text("x" * 100)
        os.utime(tmp_path / f"{at}.sixel", (at, at))
    KeptPictures(tmp_path, most=350).put(tmp_path / "new.sixel", Encoded(1, 1, data="y" * 92))
    assert {path.name for path in tmp_path.iterdir()} == {"3.sixel", "4.sixel", "new.sixel"}


async def test_the_next_start_encodes_nothing(studio: Studio, project: Project, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in ("first", "second"):
        monkeypatch.setattr(Picture, "encodings", pictures.Encodings())
        if start == "second":
            monkeypatch.setattr(pictures, "encode", lambda *_: pytest.fail("encoded again"))
        app = studio(project.path, "sixel")
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "photo 1 of 4")
            await until_quiet(pilot)
            assert all(picture.encoded for picture in app.screen.query("#photos-row Picture").results(Picture) if picture.source)
            assert not any(picture.problem for picture in app.screen.query(Picture))
    assert len(list((home / "cache" / "pictures").iterdir())) >= 5


async def test_another_terminal_draws_all_pictures_anew(studio: Studio, project: Project) -> None:
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await until_quiet(pilot)
        large = app.screen.query_one("#large", Picture)
        assert large.encoded is not None
        assert not large.encoded.data
        app.use_terminal(SIXEL)
        await until(pilot, lambda: bool(large.encoded and large.encoded.data), "sixels")
        await until_text(pilot, "drawn as sixel, 10 × 20")
        await pilot.press("ctrl+g")
        await until_text(pilot, "cannot be asked")


async def test_paths_and_texts_are_copied(studio: Studio, project: Project, store: Store) -> None:
    make_queue(store, project)
    clip = make_clip(project, "running")
    app = studio(project.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("y")
        assert app.clipboard == str(project.identity("mia").photo("00.png").path)
        for key, there, copied in (
            ("1", "2 identities", str(project.path)),
            ("3", "2 prompts", "a <rex> dog running in the {snow|rain}"),
            ("4", "✓ t2v", store.jobs()[0].title),
            ("5", "clip 1 of 1", str(clip)),
        ):
            await pilot.press(key)
            await until_text(pilot, there)
            await pilot.press("y")
            assert app.clipboard == copied
        app.complain("It went \x1b[31mwrong.", "Traceback …")
        await until(pilot, lambda: isinstance(app.screen, Complaint), "the complaint")
        await pilot.press("y")
        assert app.clipboard.startswith("It went ")
        assert app.clipboard.endswith("Traceback …")
        assert "\x1b" not in app.clipboard
