"""What stands in names, prompts, file names, recipes and logs is shown as it is: no escape is obeyed, no markup read, nothing breaks."""

import asyncio
import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
import tomli_w
from conftest import screen_text, until, until_quiet, until_text
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from studio_fixtures import FakeWorkers, make_clip, make_project, make_queue, subject
from textual.widgets import RichLog

from vcd_studio.jobs.store import Store
from vcd_studio.project.outputs import write_sidecar
from vcd_studio.project.recent import remember_project
from vcd_studio.terminal import Terminal
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.watch import Queue

PIECES = [
    "\x1b[2J", "\x1b[31m", "\x1b]0;title\x07", "\x1bP0q\x1b\\", "\x9b2J", "\x07", "\r", "\x08", "\x00", "\x7f", "\u202e",
    "\u2028", "\ufeff", "[red]", "[/]", "[b]", "[@click=app.quit]go[/]", "[link=x]", "\\[", "{{", "}", "$(reboot)", "%s", "é", "💃",
    "語", " ", "a", "Z", "0",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def obeyed(text: str) -> list[str]:
    """What a terminal would act on."""
    return [sign for sign in text if sign != "\n" and (unicodedata.category(sign) == "Cc" or unicodedata.bidirectional(sign) in BIDI)]


def file_name(text: str) -> str:
    return (text.replace("/", "").replace("\x00", "")[:40] or "x") + ".png"  # with no name it would have no ending either


async def look_everywhere(app: StudioApp, title: str) -> str:
    """Every screen and what opens over it, as text."""
    seen = []
    async with app.run_test(size=(120, 40)) as pilot:
        await until_text(pilot, "photo 1 of 4")
        await pilot.press("right_square_bracket")
        await until_text(pilot, "of 5")
        for key in ("1", "2", "3", "4", "5", "6"):
            await pilot.press(key)
            await until(pilot, lambda key=key: app.current_mode == dict(zip("123456", app.MODES, strict=False))[key], "the screen")  # type: ignore[misc]
            await until_quiet(pilot)
            seen.append(screen_text(pilot))
            if key == "4":
                await until(pilot, lambda: len(app.screen.query_one(RichLog).lines) > 0, "the log")
                seen.append(screen_text(pilot))
        await pilot.press("5", "enter", "i")
        await until(pilot, lambda: len(app.screen_stack) == 2, "the recipe")
        seen.append(screen_text(pilot))
        app.complain(title, title)
        await until(pilot, lambda: len(app.screen_stack) == 3, "a complaint")
        await pilot.press("t")
        await until_quiet(pilot)
        seen.append(screen_text(pilot))
    return "\n".join(seen)


@pytest.mark.slow
@settings(max_examples=8, phases=(Phase.generate,), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=HOSTILE, name=HOSTILE, told=HOSTILE)
def test_every_screen_shows_what_it_is_given(words: str, name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(tempfile.mkdtemp())
    monkeypatch.setenv("VCD_HOME", str(root / "home"))
    try:
        project = make_project(root)
        subject(0).save(project.identity("rex").folder / "photos" / file_name(name))
        about = {"name": "".join(sign for sign in name if unicodedata.category(sign) != "Cc") or "x", "pack": "pocket"}
        project.file.write_text(tomli_w.dumps(about), encoding="utf-8")
        project.prompts_path.write_text(tomli_w.dumps({"prompt": [{"text": f"a <rex> dog {words}"}]}), encoding="utf-8")
        clip = make_clip(project, "running")
        write_sidecar(clip, {"prompt": words, "written": told, "pack": name, "seed": 7, "fps": 8, "device": told})
        remember_project(project.path)
        with Store() as store:
            make_queue(store, project)
            job = store.enqueue("generate", project.path, words, ["t2v"], {"prompt": words})
            for number in range(1, job.id + 1):
                store.log(number, "warning", told)
        monkeypatch.setattr("vcd_studio.tui.watch.WORKERS_EVERY", 10**6)
        app = StudioApp(project.path, Terminal("halfcell"), Queue(workers=FakeWorkers()))
        seen = asyncio.run(look_everywhere(app, told))
    finally:
        shutil.rmtree(root)
    assert [line.strip() for line in seen.splitlines() if obeyed(line)] == []
    for markup in ("[red]", "[@click=app.quit]go[/]"):
        assert markup not in told or markup in seen
