"""identity describe|draft, and identity add without a noun: with a describer, with one that fails, and with none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.describer.chat_server import DRAFTS, Behaviour, answering, knowing, saying, serving
from vcd_studio import locations
from vcd_studio.project.project import Project

Studio = Any


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def switch_on(url: str) -> None:
    locations.config_dir().mkdir(parents=True, exist_ok=True)
    locations.settings_path().write_text(f'[describer]\nurl = "{url}"\nmodel = "eye"\n')


def test_describe_says_and_writes_only_when_told_to(studio: Studio, film: Project) -> None:
    with serving(knowing()) as server:
        switch_on(server.url)
        said = studio("identity", "describe", film.path, "rex")
        assert (said.code, said.out) == (0, "noun: corgi\nclass: dog\nA small orange dog with short legs.\n")
        assert film.identity("rex").noun == "dog"
        said = studio("identity", "describe", film.path, "rex", "--write", "--json")
    assert said.json == {
        "identity": "rex",
        "noun": "corgi",
        "class": "dog",
        "description": "A small orange dog with short legs.",
        "written": True,
    }
    assert film.identity("rex").noun == "corgi"
    assert len(server.asked[0].pictures) == 3


def test_a_person_is_not_written_without_an_answer_about_consent(studio: Studio, film: Project) -> None:
    with serving(knowing({"noun": "young woman", "class": "person"})) as server:
        switch_on(server.url)
        said = studio("identity", "describe", film.path, "rex", "--write")
        assert said.code == 2
        assert "--consent" in said.err
        assert film.identity("rex").noun == "dog"
        assert studio("identity", "describe", film.path, "rex", "--write", "--consent").code == 0
    assert (film.identity("rex").noun, film.identity("rex").consent) == ("young woman", True)


def test_draft_prints_and_adds_each_once(studio: Studio, film: Project) -> None:
    film.prompts_path.write_text('# mine\n[[prompt]]\ntext = "a <rex> dog running in the snow" # the first\n')
    with serving(knowing(drafts=[*DRAFTS, "a {subject} in {snow|rain}"])) as server:
        switch_on(server.url)
        said = studio("identity", "draft", film.path, "rex", "--count", "4")
        assert said.out.splitlines() == [line.replace("{subject}", "<rex> dog") for line in DRAFTS]
        assert "3 of 4 prompts can be used." in said.err
        assert len(film.prompt_list()) == 1
        said = studio("identity", "draft", film.path, "rex", "--write", "--json")
        assert (said.code, said.json["written"], len(said.json["prompts"])) == (0, 2, 3)
        assert studio("identity", "draft", film.path, "rex", "--write", "--json").json["written"] == 0
    assert film.prompts_path.read_text().startswith('# mine\n[[prompt]]\ntext = "a <rex> dog running in the snow" # the first\n')
    assert [prompt.text for prompt in film.prompt_list()] == said.json["prompts"]
    assert film.check() == []


def test_a_prompt_list_that_cannot_be_read_is_told_before_anybody_is_asked(studio: Studio, film: Project) -> None:
    film.prompts_path.write_text("[[prompt]\n")
    with serving(knowing()) as server:
        switch_on(server.url)
        said = studio("identity", "draft", film.path, "rex", "--write")
    assert said.code == 2
    assert "prompts.toml, line 1" in said.err
    assert server.asked == []


@pytest.mark.parametrize("verb", ["describe", "draft"])
def test_off_is_wrong_usage_and_a_failing_server_is_work_that_failed(verb: str, studio: Studio, film: Project) -> None:
    before = {path: path.read_bytes() for path in film.path.rglob("*") if path.is_file()}
    said = studio("identity", verb, film.path, "rex", "--write")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "write url and model under [describer] in" in said.err
    for behave in (answering(500, b""), saying("Sorry, I cannot help."), answering(200, b"<html>", "text/html")):
        with serving(behave) as server:
            switch_on(server.url)
            said = studio("identity", verb, film.path, "rex", "--write")
        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
        assert said.err.startswith("vcd-studio: The describer")
    assert {path: path.read_bytes() for path in film.path.rglob("*") if path.is_file()} == before


def test_the_key_is_nowhere_in_an_answer(studio: Studio, film: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_KEY", "sk-secret-4711")
    with serving(knowing({"noun": "dog", "description": "A dog with sk-secret-4711 on its tag."})) as server:
        monkeypatch.setenv("VCD_DESCRIBER", json.dumps({"url": server.url, "key_env": "PET_KEY"}))
        said = studio("identity", "describe", film.path, "rex", "--json")
    assert server.asked[0].headers["Authorization"] == "Bearer sk-secret-4711"
    assert said.json["description"] == "A dog with (key) on its tag."


def test_add_takes_the_describers_noun_and_says_so(studio: Studio, film: Project, photos: Path) -> None:
    with serving(knowing()) as server:
        switch_on(server.url)
        said = studio("identity", "add", film.path, "tom", photos, "--json")
        assert (said.code, said.json["noun"]) == (0, "corgi")
        assert said.err == "corgi, by the describer\n"
        assert studio("identity", "add", film.path, "ada", "--no-consent", photos).code == 2  # whose photos are sent to nobody
        assert studio("identity", "add", film.path, "ben", "--noun", "bear", photos, "--json").json["noun"] == "bear"
    assert len(server.asked) == 1


@pytest.mark.parametrize("behave", [None, answering(429, b""), saying("…")])
def test_add_goes_on_without_it(
    behave: Behaviour | None, studio: Studio, film: Project, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(behave or knowing()) as server:
        if behave is not None:
            switch_on(server.url)
        said = studio("identity", "add", film.path, "tom", photos)
        *warnings, last = said.err.splitlines()
        assert (said.code, said.out, len(warnings)) == (2, "", 0 if behave is None else 1)
        assert "give --noun" in last
        assert [entry.name for entry in (film.path / "identities").iterdir()] == ["rex"]
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        monkeypatch.setattr("typer.prompt", lambda question, err: "cat" if "What is tom" in question else "")
        assert studio("identity", "add", film.path, "tom", photos, "--json").json["noun"] == "cat"
