"""What holds for every verb: help with an example, --json, exit codes, and no torch behind it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from vcd_studio import __version__
from vcd_studio.cli.screens import plainly_asked
from vcd_studio.cli.verbs import app
from vcd_studio.project.clip_filter import order_named, parse_filter


def verbs(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every verb with the words that lead to it."""
    if not hasattr(command, "commands"):
        return [(path, command)]
    return [found for name, inner in command.commands.items() for found in verbs(inner, (*path, name))]


VERBS = verbs(typer.main.get_command(app))
NAMED = {
    "demo",
    "reproduce",
    "compare",
    "doctor",
    "bench",
    "evaluate",
    "generate",
    *(f"project {verb}" for verb in ("new", "list", "check")),
    *(f"identity {verb}" for verb in ("add", "describe", "draft", "segment", "mask", "train", "use", "show", "import", "export")),
    *(f"queue {verb}" for verb in ("list", "show", "cancel", "retry", "move", "priority", "pause", "resume", "clear", "fork", "now")),
    *(f"worker {verb}" for verb in ("start", "stop", "status", "run")),
    *(f"clips {verb}" for verb in ("list", "show", "export", "rerun", "trash", "restore")),
    *(f"models {verb}" for verb in ("list", "check", "pull", "add")),
}


def test_the_verbs_are_those_of_the_contract() -> None:
    assert {" ".join(path) for path, _ in VERBS} == NAMED


@pytest.mark.parametrize(("path", "command"), VERBS, ids=[" ".join(path) for path, _ in VERBS])
def test_every_verb_answers_in_json_and_helps_with_an_example(path: tuple[str, ...], command: Any, studio: Any) -> None:
    assert any("--json" in parameter.opts for parameter in command.params)
    said = studio(*path, "--help")
    assert said.code == 0
    assert f"Example: vcd-studio {' '.join(path)}" in said.out
    assert said.err == ""


README = Path(__file__).resolve().parents[2] / "README.md"
WRITTEN = re.findall(r"^    vcd-studio (.+?)(?:\s+#.*)?$", README.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("line", WRITTEN)
def test_what_the_readme_says_is_what_a_verb_takes(line: str) -> None:
    words = shlex.split(line)
    path, command = next((path, command) for path, command in VERBS if tuple(words[: len(path)]) == path)
    given = command.make_context(" ".join(path), words[len(path) :]).params
    if path == ("clips", "list"):
        parse_filter(given["chosen"])
        order_named(given["order"])


GROUPS = ("project", "identity", "queue", "worker", "clips", "models")


@pytest.mark.parametrize("words", [["--help"], *([group, "--help"] for group in GROUPS)])
def test_every_group_helps_with_an_example(words: list[str], studio: Any) -> None:
    said = studio(*words)
    assert said.code == 0
    assert "Example: vcd-studio" in said.out


@pytest.mark.parametrize("words", [["paint"], ["queue", "paint"], ["generate"], ["queue", "cancel", "one"], ["--graphics", "oil"]])
def test_wrong_usage_is_two_and_stdout_stays_empty(words: list[str], studio: Any) -> None:
    said = studio(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err


def test_the_version(studio: Any) -> None:
    assert studio("--version").out.strip() == __version__


def test_the_screens_want_a_terminal(studio: Any) -> None:
    said = studio()
    assert said.code == 2
    assert "need a terminal" in said.err


def test_the_screens_open_on_a_project(studio: Any, film: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vcd_studio import tui

    opened: list[tuple[Path | None, str | None]] = []
    monkeypatch.setattr(tui, "run", lambda project, graphics: opened.append((project, graphics)) or 0)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert studio("--project", film.path, "--graphics", "halfcell").code == 0
    assert studio().code == 0
    assert studio(f"--project={film.path}", "--graphics=auto").code == 0
    assert opened == [(film.path, "halfcell"), (None, None), (film.path, "auto")]
    assert studio("--project", film.path / "nowhere").code == 2


def test_only_the_plain_options_of_the_screens_go_past_typer() -> None:
    assert plainly_asked([]) == (None, None)
    assert plainly_asked(["--project", "a b", "--graphics=sixel", "--graphics", "off"]) == (Path("a b"), "off")
    for words in ("--help", "-h", "--version", "queue", "--project", "--project --graphics", "--graphics oil", "--project=", "--proj a"):
        assert plainly_asked(words.split()) is None
    for words in ("--project film queue list", "-- --project film", "--project film --json"):
        assert plainly_asked(words.split()) is None
    assert plainly_asked([""]) is None


def test_a_folder_alone_is_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Any) -> None:
    (tmp_path / "film").mkdir()
    monkeypatch.chdir(tmp_path)
    for word in ("film/", "./film", str(tmp_path / "film"), "./none"):
        assert plainly_asked([word]) == (Path(word), None)
    assert plainly_asked(["."]) == (Path(), None)
    for word in ("film", "-/film"):  # what may be a verb, what is an option
        assert plainly_asked([word]) is None
    assert plainly_asked(["film/", "queue"]) is None
    said = studio("./none")
    assert said.code == 2
    assert said.err == f"vcd-studio: {tmp_path / 'none'}: there is no such folder; check the path, or make a project there first.\n"


FRESH = """
import contextlib, io, sys
sys.argv = ["vcd-studio", "--help"]
from vcd_studio.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
heavy = {"torch", "diffusers", "transformers", "textual", "textual_image", "pydantic", "numpy", "PIL", "av", "rich", "tomlkit"}
print(*sorted(heavy & set(sys.modules)))
"""
AT_WORK = """
import contextlib, sys
from vcd_studio.cli import main
for words in (["project", "list"], ["queue", "list"], ["worker", "status"], ["clips", "list"], ["identity", "show", sys.argv[1], "rex"]):
    sys.argv = ["vcd-studio", *words]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
        main()
print(*sorted({"torch", "diffusers", "transformers", "textual"} & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_verbs_never_import_torch(film: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_WORK.replace("sys.argv[1]", repr(str(film.path)))], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "", done.stderr


def test_without_its_script_on_the_path(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "vcd_studio", "clips", "list", str(tmp_path / "nowhere")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"vcd-studio: {tmp_path / 'nowhere'}: there is no such folder" in done.stderr
