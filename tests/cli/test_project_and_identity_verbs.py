"""project new|list|check and identity add|segment|train|show, with what a person may get wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vcd_studio.project.photos import read_mask
from vcd_studio.project.project import Project


def test_a_new_project_is_made_listed_and_sound(studio: Any, tmp_path: Path) -> None:
    made = studio("project", "new", "film", "--pack", "sd15", "--json")
    assert made.code == 0
    assert made.json == {"path": str(tmp_path / "film"), "name": "film", "pack": "sd15", "identities": [], "clips": 0, "problem": None}
    listed = studio("project", "list", "--json").json
    assert listed[0] == made.json
    assert "Pocket park" in {project["name"] for project in listed}
    assert str(tmp_path / "film") in studio("project", "list").out
    checked = studio("project", "check", "film", "--json")
    assert (checked.code, checked.json) == (0, {"path": str(tmp_path / "film"), "problems": []})


def test_a_folder_with_files_becomes_no_project(studio: Any, film: Project) -> None:
    said = studio("project", "new", film.path)
    assert said.code == 2
    assert "not empty" in said.err


def test_check_tells_every_problem_with_file_and_line(studio: Any, film: Project) -> None:
    film.file.write_text('name = "film"\npack = "pocket"\n[defaults]\nframs = 8\n')
    (film.path / "identities/rex/photos/0.png").write_text("no picture")
    said = studio("project", "check", film.path, "--json")
    assert said.code == 1
    first, *others = said.json["problems"]
    assert (Path(first["file"]).name, first["line"]) == ("project.toml", 4)
    assert "frames" in first["message"]
    assert any(problem["file"].endswith("0.png") for problem in others)
    assert "project.toml, line 4" in studio("project", "check", film.path).out


@pytest.mark.parametrize("words", [["project", "check"], ["identity", "show"], ["generate"]])
def test_a_folder_that_is_not_there_is_wrong_input(words: list[str], studio: Any) -> None:
    said = studio(*words, "nowhere", *(["rex"] if words[0] == "identity" else []))
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "nowhere" in said.err


def test_a_broken_toml_is_told_with_its_line(studio: Any, film: Project) -> None:
    film.file.write_text('name = "film"\npack = \n')
    for words in (["identity", "show", film.path, "rex"], ["generate", film.path], ["clips", "list", film.path]):
        said = studio(*words)
        assert said.code == 2
        assert "project.toml, line 2" in said.err
        assert said.err.count("\n") == 1


def test_an_identity_is_added_and_shown(studio: Any, tmp_path: Path, photos: Path) -> None:
    Project.create(tmp_path / "film")
    added = studio("identity", "add", "film", "rex", "--noun", "dog", photos, "--json")
    assert added.code == 0
    assert (added.json["token"], added.json["noun"], added.json["consent"]) == ("<rex>", "dog", None)
    assert [photo["file"] for photo in added.json["photos"]] == ["photos/0.png", "photos/1.png", "photos/2.png"]
    assert {photo["mask"] for photo in added.json["photos"]} == {"automatic"}
    assert studio("identity", "show", "film", "rex", "--json").json == added.json
    shown = studio("identity", "show", "film", "rex").out
    assert "photos/2.png" in shown
    assert "not trained yet" in shown


def test_no_photos_and_no_pictures_leave_nothing_behind(studio: Any, film: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.jpg").write_text("Dear reader")
    for photos, word in (("empty", "no photos"), ("letter.jpg", "letter.jpg"), ("nowhere.jpg", "nowhere.jpg")):
        said = studio("identity", "add", film.path, "tom", "--noun", "cat", photos)
        assert (said.code, said.out) == (2, "")
        assert word in said.err
        assert said.err.count("\n") == 1
    assert studio("identity", "add", film.path, "tom", "--noun", "cat").code == 2
    assert [entry.name for entry in (film.path / "identities").iterdir()] == ["rex"]


@pytest.mark.parametrize(("flag", "answer"), [("--consent", True), ("--no-consent", False)])
def test_a_person_needs_an_answer_about_consent(flag: str, answer: bool, studio: Any, film: Project, photos: Path) -> None:
    asked = studio("identity", "add", film.path, "mia", "--noun", "woman", photos)
    assert asked.code == 2
    assert "--consent" in asked.err
    assert studio("identity", "add", film.path, "mia", "--noun", "woman", flag, photos, "--json").json["consent"] is answer
    assert f"consent = {str(answer).lower()}" in film.identity("mia").file.read_text()


def test_who_did_not_agree_is_neither_trained_nor_drawn(studio: Any, film: Project, photos: Path) -> None:
    studio("identity", "add", film.path, "mia", "--noun", "woman", "--no-consent", photos)
    (film.identity("mia").new_run() / "tokens.safetensors").write_bytes(b"trained before she said no")
    for words in (
        ["identity", "train", film.path, "mia", "--no-worker"],
        ["generate", film.path, "--prompt", "a <mia> woman", "--no-worker"],
        ["generate", film.path, "--prompt", "a <mia> woman", "--dry-run"],
    ):
        said = studio(*words)
        assert (said.code, said.out) == (2, "")
        assert '"mia" (woman) did not agree' in said.err
        assert f"consent = true in {film.identity('mia').file}" in said.err
        assert said.err.count("\n") == 1
    assert studio("queue", "list", "--json").json == []
    trained = studio("identity", "train", film.path, "mia", "--consent", "--no-worker", "--json")
    assert (trained.code, trained.json["state"]) == (0, "queued")
    assert film.identity("mia").consent is True
    assert studio("generate", film.path, "--prompt", "a <mia> woman", "--no-worker").code == 0
    assert studio("identity", "train", film.path, "mia", "--no-consent", "--no-worker").code == 2
    assert film.identity("mia").consent is False


def test_a_training_for_each_seed_and_the_nearest_is_used(studio: Any, film: Project) -> None:
    asked = studio("identity", "train", film.path, "rex", "--seeds", "0,7", "--no-worker", "--json")
    assert asked.code == 0
    assert [(job["state"], job["title"]) for job in asked.json["jobs"]] == [
        ("queued", "train rex, 200 steps"), ("queued", "train rex, 200 steps, seed 7"),
    ]  # fmt: skip
    for wrong, told in (("1,x", "are no seeds"), ("", "are no seeds"), ("3,-1", "seed")):
        said = studio("identity", "train", film.path, "rex", "--seeds", wrong, "--no-worker")
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert told in said.err
    assert len(studio("queue", "list", "--json").json) == 2  # of what was wrong, nothing was enqueued
    for loss in ("0.0912", "0.1034"):
        run = film.identity("rex").new_run()
        (run / "run.toml").write_text(f"steady_loss = {loss}\n")
        (run / "tokens.safetensors").write_bytes(b"tokens")
    best, last = (run.name for run in film.identity("rex").runs()[-2:])
    shown = studio("identity", "show", film.path, "rex")
    assert re.search(rf"{best} .*0\.0912", shown.out)
    assert f"{last} " in shown.out
    assert studio("identity", "use", film.path, "rex", "nearest").out.strip() == f"Prompts that name <rex> use {best}."
    assert film.identity("rex").used_name() == best


def test_an_older_person_without_an_answer_is_a_warning(studio: Any, film: Project, photos: Path) -> None:
    studio("identity", "add", film.path, "mia", "--noun", "woman", "--consent", photos)
    mia = film.identity("mia")
    mia.file.write_text("".join(line for line in mia.file.read_text().splitlines(keepends=True) if "consent" not in line))
    said = studio("identity", "train", film.path, "mia", "--no-worker")
    assert said.code == 0
    assert '"mia" is a person, and nobody has said whether they agreed' in said.err
    (mia.new_run() / "tokens.safetensors").write_bytes(b"tokens")
    said = studio("generate", film.path, "--prompt", "a <mia> woman", "--seeds", "1,2", "--dry-run")
    assert said.code == 0
    assert said.err.count("nobody has said") == 1


def test_at_a_terminal_the_question_is_asked(studio: Any, film: Project, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, err: questions.append(question) or True)
    assert studio("identity", "add", film.path, "mia", "--noun", "woman", photos, "--json").json["consent"] is True
    assert studio("identity", "add", film.path, "tom", "--noun", "cat", photos, "--json").json["consent"] is None
    assert len(questions) == 1


def test_an_unknown_identity_is_told_with_the_known_ones(studio: Any, film: Project) -> None:
    for verb in ("show", "segment", "train"):
        said = studio("identity", verb, film.path, "rax")
        assert said.code == 2
        assert '"rex"' in said.err


def test_segment_and_train_wait_in_the_queue(studio: Any, film: Project) -> None:
    masks = studio("identity", "segment", film.path, "rex", "--no-worker", "--json")
    tokens = studio("identity", "train", film.path, "rex", "--set", "steps=7", "--no-worker", "--json")
    assert (masks.code, masks.json["kind"], masks.json["state"]) == (0, "segment", "queued")
    assert (tokens.code, tokens.json["kind"], tokens.json["stage"]) == (0, "train", "train")
    job = studio("queue", "show", str(tokens.json["id"]), "--json").json
    assert job["settings"]["training"]["steps"] == 7


def test_one_photo_is_segmented_with_boxes_and_thresholds_of_its_own(studio: Any, film: Project) -> None:
    words = ["identity", "segment", film.path, "rex", "--no-worker", "--json"]
    made = studio(*words, "--photo", "1.png", "--box", "3,1", "--box-threshold", "0.2")
    assert made.code == 0
    settings = studio("queue", "show", str(made.json["id"]), "--json").json["settings"]
    assert (settings["photos"], settings["pick"]) == (["1.png"], [0, 2])
    assert settings["segmentation"] == {"box_threshold": 0.2, "text_threshold": 0.25}
    for wrong, told in ((["--box", "2"], "--photo"), (["--box", "first"], "first"), (["--box-threshold", "7"], "box_threshold")):
        said = studio(*words, *wrong)
        assert (said.code, said.out) == (2, "")
        assert told in said.err
        assert said.err.count("\n") == 1
    assert len(studio("queue", "list", "--json").json) == 1


def test_a_mask_drawn_elsewhere_is_taken_if_it_fits(studio: Any, film: Project, tmp_path: Path) -> None:
    before = film.identity("rex").photo("1.png").path.read_bytes()
    drawn = Image.new("L", (40, 32), 0)
    drawn.paste(255, (10, 10, 30, 30))
    drawn.convert("RGB").save(tmp_path / "drawn.webp", lossless=True)
    Image.new("L", (10, 10)).save(tmp_path / "small.png")
    words = ["identity", "mask", film.path, "rex", "1.png"]
    refused = studio(*words, "--file", "small.png")
    assert refused.code == 2
    assert "10 x 10 pixels and its photo 40 x 32" in refused.err
    assert studio(*words).code == 2
    assert studio(*words, "--file", "drawn.webp").code == 0
    photo = film.identity("rex").photo("1.png")
    assert (photo.state, (read_mask(photo.mask_path) > 127).sum()) == ("corrected", 400)
    assert photo.path.read_bytes() == before
    said = studio("identity", "segment", film.path, "rex", "--photo", "1.png", "--no-worker")
    assert said.code == 2
    assert "set it to automatic first" in said.err
    assert studio(*words, "--state", "automatic").code == 0
    assert studio("identity", "segment", film.path, "rex", "--photo", "1.png", "--no-worker").code == 0


@pytest.mark.parametrize("change", ["steps=many", "step=7", "steps", "steps=-1"])
def test_a_wrong_setting_enqueues_nothing(change: str, studio: Any, film: Project) -> None:
    said = studio("identity", "train", film.path, "rex", "--set", change, "--no-worker")
    assert (said.code, said.out) == (2, "")
    assert studio("queue", "list", "--json").json == []


def test_text_from_outside_is_shown_and_not_obeyed(studio: Any, film: Project) -> None:
    said = studio("identity", "show", film.path, "re\x1b[31mx")
    assert said.code == 2
    assert "\x1b" not in said.err


def test_a_clip_whose_recipe_is_of_any_kind_is_listed_and_shown(studio: Any, film: Project) -> None:
    folder = film.new_clip("odd")
    (folder / "clip.toml").write_text('prompt = [[1]]\nseed = 2026-01-01\nfinished = 2026-01-01\nidentities = 3\nstages = "t2v"\n')
    (listed,) = studio("clips", "list", film.path, "--json").json
    shown = studio("clips", "show", folder.name, "--project", film.path, "--json")
    assert shown.code == 0, shown.err
    assert (listed["id"], listed["identities"], listed["stages"]) == (folder.name, [], {})
    assert {key: shown.json[key] for key in listed} == listed
