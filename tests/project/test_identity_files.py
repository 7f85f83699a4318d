"""identity.toml, mask states and training runs: edits keep what the person wrote."""

from pathlib import Path

import pytest

from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.identity import RUN_FILE, TOKENS_FILE, check_agreed, is_human
from vcd_studio.project.project import Project

WRITTEN = """# Rex, the neighbour's dog
name = "rex"  # short for Reginald
noun = "dog"
token = "<rex>"

[training]   # slower than usual
steps = 300

[[photo]]  # blurred
file = "photos/two.png"
mask = "left-out"
"""


def test_an_edit_keeps_every_comment(project: Project) -> None:
    rex = project.identity("rex")
    rex.file.write_text(WRITTEN)
    rex = project.identity("rex")
    rex.set_mask_state("one.png", "whole")
    rex.set_mask_state("two.png", "corrected")
    rex.set_noun("big dog")
    rex.set_section("training", tokens=2)
    text = rex.file.read_text()
    for comment in ("# Rex, the neighbour's dog", "# short for Reginald", "# slower than usual", "# blurred"):
        assert comment in text
    again = project.identity("rex")
    assert {photo.name: photo.state for photo in again.photos()} == {"one.png": "whole", "two.png": "corrected", "three.png": "automatic"}
    assert (again.noun, again.training.steps, again.training.tokens) == ("big dog", 300, 2)


def test_a_refused_edit_changes_nothing(project: Project) -> None:
    rex = project.identity("rex")
    before = rex.file.read_bytes()
    with pytest.raises(InputError, match='no state of a mask; did you mean "whole"'):
        rex.set_mask_state("one.png", "hole")
    with pytest.raises(InputError, match=r'no photo "on\.png"; did you mean "one\.png"'):
        rex.set_mask_state("on.png", "whole")
    with pytest.raises(InputError, match="steps"):
        rex.set_section("training", steps=0)
    assert rex.file.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('file = "photos/../../../etc/passwd"', "photo"),
        ('file = "/etc/passwd"', "photo"),
    ],
)
def test_a_photo_entry_cannot_lead_out(project: Project, line: str, sentence: str) -> None:
    rex = project.identity("rex")
    rex.file.write_text(f'name = "rex"\nnoun = "dog"\ntoken = "<rex>"\n[[photo]]\n{line}\n')
    with pytest.raises(ProjectError, match=sentence) as caught:
        project.identity("rex")
    assert caught.value.line == 5


def test_runs_are_numbered_and_only_a_finished_one_is_used(project: Project) -> None:
    rex = project.identity("rex")
    assert rex.runs() == []
    assert rex.latest_run() is None
    first, second, third = rex.new_run(), rex.new_run(), rex.new_run()
    assert [path.name for path in (first, second, third)] == ["run-001", "run-002", "run-003"]
    (second / TOKENS_FILE).write_bytes(b"tokens")
    (second / RUN_FILE).write_text("steps = 200\n")
    latest = rex.latest_run()
    assert latest is not None
    assert latest.name == "run-002"
    assert latest.record() == {"steps": 200}
    assert [run.finished for run in rex.runs()] == [False, True, False]
    assert rex.runs()[0].record() == {}


def test_a_chosen_run_is_used_until_another_is_chosen(project: Project) -> None:
    rex = project.identity("rex")
    rex.file.write_text(WRITTEN)
    rex = project.identity("rex")
    for name in ("run-001", "run-002", "run-003"):
        rex.new_run()
        if name != "run-003":
            (rex.trained_dir / name / TOKENS_FILE).write_bytes(b"tokens")
    assert rex.used_name() == "run-002"
    rex.use_run("run-001")
    again = project.identity("rex")
    used, tokens = again.used_run(), again.latest_tokens()
    assert used is not None
    assert tokens is not None
    assert (used.name, tokens.name, again.used_name()) == ("run-001", "run-001", "run-001")
    assert "# Rex, the neighbour's dog" in rex.file.read_text()
    with pytest.raises(InputError, match=r'"run-003" of "rex" is not finished'):
        rex.use_run("run-003")
    with pytest.raises(InputError, match=r'no training run "run-04"; .*did you mean "run-00'):
        rex.use_run("run-04")
    (rex.trained_dir / "run-001" / TOKENS_FILE).unlink()
    with pytest.raises(InputError, match="not finished"):
        again.used_run()
    assert any("run-001" in problem.message for problem in again.check())
    again.use_run(None)
    assert again.used_name() == "run-002"


def test_the_nearest_run_has_the_lowest_steady_loss_on_the_same_photos(project: Project) -> None:
    rex = project.identity("rex")
    with pytest.raises(InputError, match='run of "rex" has a steady loss'):
        rex.nearest_run()
    runs = {
        "other photos": ('0.01', "1", "a"), "far": ("0.11", "2", "a"), "near": ("0.09", "2", "a"), "imported": (None, "2", "a"),
        "other networks": ("0.02", "2", "b"), "broken": ("nan", "2", "a"), "unfinished": ("0.03", "2", "a"), "last": ("0.10", "2", "a"),
    }  # fmt: skip
    named = {}
    for kind, (loss, photos, pack) in runs.items():
        folder = rex.new_run()
        named[folder.name] = kind
        told = f'pack_sha256 = "{pack}"\n' + (f"steady_loss = {loss}\n" if loss else "") + f'[[photos]]\nname = "{photos}.png"\n'
        (folder / RUN_FILE).write_text(told)
        if kind != "unfinished":
            (folder / TOKENS_FILE).write_bytes(b"tokens")
    assert named[rex.nearest_run().name] == "near"
    (rex.trained_dir / "run-003" / TOKENS_FILE).unlink()
    assert named[rex.nearest_run().name] == "last"


def test_run_numbers_sort_as_numbers(project: Project) -> None:
    rex = project.identity("rex")
    for name in ("run-1000", "run-999", "run-002"):
        (rex.trained_dir / name).mkdir(parents=True)
    assert [run.name for run in rex.runs()] == ["run-002", "run-999", "run-1000"]
    assert rex.new_run().name == "run-001"


@pytest.mark.parametrize("noun", ["man", "Woman", "old women", "person", "boys", "face", "fireman", "policewoman", "children", "my wife"])
def test_people_are_people(noun: str) -> None:
    assert is_human(noun)


@pytest.mark.parametrize("noun", ["dog", "cat", "stuffed animal", "snowman", "backpack", "mango", "ottoman"])
def test_things_are_not(noun: str) -> None:
    assert not is_human(noun)


@pytest.mark.parametrize(
    ("noun", "consent", "warnings"), [("woman", "", 1), ("woman", "consent = true", 0), ("dog", "", 0), ("dog", "consent = true", 0)]
)
def test_a_person_of_whom_nobody_asked_is_warned_of(project: Project, noun: str, consent: str, warnings: int) -> None:
    rex = project.identity("rex")
    rex.file.write_text(f'name = "rex"\nnoun = "{noun}"\ntoken = "<rex>"\n{consent}\n')
    found = check_agreed([project.identity("rex")])
    assert len(found) == warnings
    assert all("consent = true or false" in warning and str(rex.file) in warning for warning in found)


def test_who_did_not_agree_is_refused_until_the_answer_is_another(project: Project) -> None:
    rex = project.identity("rex")
    rex.set_noun("violinist", False)  # the answer counts, whether or not we know the word for a person
    with pytest.raises(InputError, match=r"did not agree.*consent = true in .*identity\.toml"):
        check_agreed([project.identity("rex")])
    rex.file.write_text(rex.file.read_text().replace("consent = false", "consent = true"))
    assert check_agreed([project.identity("rex")]) == []


def test_an_identity_under_another_name_is_told(project: Project, tmp_path: Path) -> None:
    folder = project.path / "identities"
    (folder / "rex").rename(folder / "max")
    with pytest.raises(ProjectError, match='"rex" is not that of its folder "max"'):
        project.identity("max")
