"""A project folder: made, opened, added to, checked; nothing half done and nothing overwritten."""

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vcd_studio import locations
from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.project import Project
from vcd_studio.project.recent import name_of, recent_projects, remember_project
from vcd_studio.project.text import plain


def one_line(error: Exception) -> None:
    """An error is one line without control characters."""
    assert plain(str(error)) == str(error)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_new_project_is_whole_and_opens_by_folder_or_file(tmp_path: Path) -> None:
    made = Project.create(tmp_path / "my film", pack="pocket")
    assert (made.name, made.pack, made.defaults.gamma) == ("my film", "pocket", 0.15)
    assert Project.open(made.path / "project.toml").path == made.path
    assert made.check() == []
    assert made.identities() == []
    assert made.clips() == []
    assert len(made.prompt_list()) == 0


def test_a_project_is_never_made_over_something(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty; choose another"):
        Project.create(tmp_path)
    assert files_of(tmp_path) == {"diary.txt"}


def test_what_is_no_project_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no such folder"):
        Project.open(tmp_path / "nowhere")
    with pytest.raises(ProjectError, match=r"has no project\.toml, so it is no project"):
        Project.open(tmp_path)


def test_photos_are_copied_and_the_originals_stay(project: Project, photos: list[Path]) -> None:
    rex = project.identity("rex")
    assert [photo.name for photo in rex.photos()] == ["one.png", "three.png", "two.png"]
    assert rex.photo("one.png").path.read_bytes() == photos[0].read_bytes()
    assert (rex.token, rex.noun, rex.consent) == ("<rex>", "dog", None)
    assert project.identity("<rex>").name == "rex"


def test_a_folder_of_photos_is_taken_whole_and_the_same_picture_once(project: Project, photos: list[Path]) -> None:
    (photos[0].parent / "notes.txt").write_text("not a photo")
    (photos[0].parent / "copy of one.png").write_bytes(photos[0].read_bytes())
    tom = project.add_identity("tom", "cat", [photos[0].parent, photos[1]])
    assert len(tom.photos()) == 3


def test_photos_of_the_same_stem_keep_their_own_masks(project: Project, tmp_path: Path, photos: list[Path]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.jpg").write_bytes(photos[1].read_bytes())
    tom = project.add_identity("tom", "cat", [photos[0], other / "one.jpg"])
    assert len({photo.mask_path for photo in tom.photos()}) == 2


@pytest.mark.parametrize(
    ("name", "noun", "sentence"),
    [
        ("../evil", "dog", "cannot be the name of an identity"),
        ("rex\x1b[2J", "dog", "cannot be the name of an identity"),
        ("", "dog", "cannot be the name of an identity"),
        ("REX", "dog", 'There is an identity "rex"'),
        ("tom", "<cat>", "cannot be a class noun"),
        ("tom", " ", "cannot be a class noun"),
        ("tom", "woman", "ask whether that person agreed"),
        ("tom", "little girl", "ask whether that person agreed"),
    ],
)
def test_a_bad_identity_is_one_sentence_and_nothing_is_left(
    project: Project, photos: list[Path], name: str, noun: str, sentence: str
) -> None:
    before = files_of(project.path)
    with pytest.raises(InputError, match=sentence) as caught:
        project.add_identity(name, noun, photos)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_of(project.path) == before


def test_no_photos_and_a_photo_that_is_none(project: Project, photos: list[Path], tmp_path: Path) -> None:
    before = files_of(project.path)
    letter = tmp_path / "letter.png"
    letter.write_text("Dear dog,")
    for given_photos, sentence in (([], "no photos"), ([photos[0], letter], "not a picture"), ([tmp_path / "gone.png"], "is not there")):
        with pytest.raises(InputError, match=sentence):
            project.add_identity("tom", "cat", given_photos)
    assert files_of(project.path) == before


@pytest.mark.parametrize("answer", [True, False])
def test_the_answer_about_consent_is_kept(project: Project, photos: list[Path], answer: bool) -> None:
    project.add_identity("mia", "woman", photos, consent=answer)
    assert project.identity("mia").consent is answer
    assert f"consent = {str(answer).lower()}" in (project.path / "identities/mia/identity.toml").read_text()


def test_a_dog_that_becomes_a_woman_is_asked_about_too(project: Project) -> None:
    rex = project.identity("rex")
    with pytest.raises(InputError, match="ask whether that person agreed"):
        rex.set_noun("woman")
    rex.set_noun("woman", consent=True)
    assert (project.identity("rex").noun, project.identity("rex").consent) == ("woman", True)


def test_an_unknown_identity_names_the_known(project: Project) -> None:
    with pytest.raises(InputError, match='no identity "rx"; did you mean "rex"'):
        project.identity("rx")
    with pytest.raises(InputError, match="no identity"):
        project.identity("../../etc")


def test_new_clips_never_meet(project: Project) -> None:
    made: list[Path] = []

    def make() -> None:
        made.extend(project.new_clip("a <rex> dog / ../running: \x1b[31m snow") for _ in range(10))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 40
    assert all(path.parent == project.path / "outputs" and path.is_dir() for path in made)
    assert made[0].name.startswith("a-rex-dog-running")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=120))
def test_any_text_names_a_clip_inside_outputs(project: Project, stem: str) -> None:
    folder = project.new_clip(stem)
    assert folder.parent == project.path / "outputs"
    assert list(folder.iterdir()) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.text(max_size=30))
def test_any_name_and_noun_is_taken_or_refused_in_one_line(project: Project, photos: list[Path], name: str, noun: str) -> None:
    try:
        added = project.add_identity(name, noun, photos[:1])
    except InputError as error:
        one_line(error)
    else:
        assert added.folder.parent == project.path / "identities"
        assert added.token == f"<{name}>"
    assert project.path.parent.resolve() == (project.path / "identities").resolve().parent.parent
    assert all(entry.is_dir() and not entry.name.startswith(".") for entry in (project.path / "identities").iterdir())


def test_outputs_that_cannot_be_written(project: Project) -> None:
    project.check_writable()
    (project.path / "outputs").rmdir()
    (project.path / "outputs").write_text("a file in the way")
    for act in (project.check_writable, lambda: project.new_clip("dog")):
        with pytest.raises(InputError, match=r"outputs.* cannot be (written|made).*make"):
            act()
    assert any("outputs" in str(problem) for problem in project.check())


def test_checking_leaves_no_trace(project: Project) -> None:
    (project.path / "outputs").rmdir()
    before = files_of(project.path)
    assert project.check() == []
    assert files_of(project.path) == before


@pytest.mark.parametrize(
    "place", ["identities/rex/photos/x.png", "identities/rex/masks", "identities/rex/trained", "outputs", "prompts.toml", "wildcards"]
)
def test_a_link_that_leads_out_is_refused(project: Project, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    path = project.path / place
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(outside / "secret.png" if path.suffix else outside)
    assert any("leads out of the project folder" in problem.message for problem in project.check())
    rex = project.identity("rex")
    act = {
        "identities/rex/photos/x.png": rex.photos,
        "identities/rex/masks": rex.photos,
        "identities/rex/trained": rex.new_run,
        "outputs": lambda: project.new_clip("x"),
        "prompts.toml": project.prompt_list,
        "wildcards": lambda: project.wildcard_dir,
    }[place]
    with pytest.raises(ProjectError, match="leads out"):
        act()
    assert files_of(outside) == {"secret.png"}


def test_a_whole_identity_that_is_a_link_is_refused(project: Project, tmp_path: Path) -> None:
    other = Project.create(tmp_path / "other")
    (other.path / "identities" / "rex").symlink_to(project.path / "identities" / "rex")
    with pytest.raises(ProjectError, match="leads out"):
        other.identities()


def test_a_link_in_a_circle_is_refused(project: Project) -> None:
    (project.path / "outputs").rmdir()
    (project.path / "outputs").symlink_to(project.path / "outputs")
    with pytest.raises(InputError):
        project.new_clip("x")


def test_check_finds_every_problem_with_its_place(project: Project) -> None:
    (project.path / "project.toml").write_text('name = "film"\npak = "pocket"\n[defaults]\nframes = 16\ngamma = 2\n')
    (project.path / "prompts.toml").write_text('[[prompt]]\ntext = "a <rex> dog"\nguidnce = 3\n')
    (project.path / "identities/rex/photos/two.png").write_bytes(b"no picture")
    found = {(problem.file.name, problem.line) for problem in project.check()}
    assert {("project.toml", 2), ("project.toml", 5), ("prompts.toml", 3), ("two.png", None)} <= found


def test_check_finds_unknown_identities_in_prompts(project: Project) -> None:
    (project.path / "prompts.toml").write_text('# mine\n\n[[prompt]]\ntext = "a <rx> dog in {snow|rain}"\n')
    (problem,) = project.check()
    assert problem.line == 3
    assert "<rx>" in problem.message
    assert "<rex>" in problem.message


def test_two_identities_cannot_share_a_token(project: Project, photos: list[Path]) -> None:
    tom = project.add_identity("tom", "cat", photos)
    tom.file.write_text(tom.file.read_text().replace("<tom>", "<rex>"))
    with pytest.raises(ProjectError, match="is that of"):
        project.identities()
    assert any("is that of" in problem.message for problem in project.check())


def test_recent_projects_newest_first_and_only_those_still_there(project: Project, tmp_path: Path) -> None:
    assert recent_projects() == []
    other = Project.create(tmp_path / "other")
    gone = Project.create(tmp_path / "gone")
    for one in (gone, project, other, project):
        remember_project(one.path)
    (gone.path / "project.toml").unlink()
    assert recent_projects() == [project.path, other.path]
    assert locations.recent_projects_path().parent == locations.state_dir()
    assert [path.name for path in locations.state_dir().iterdir()] == ["recent-projects.txt"]


@pytest.mark.parametrize("written", ["name = 3", "name = ", 'name = ""', "pack = 'pocket'", b"name = '\xff'", None])
def test_a_name_that_cannot_be_read_at_a_glance_is_the_folders(project: Project, written: str | bytes | None) -> None:
    assert name_of(project.path) == project.name
    file = project.path / "project.toml"
    if written is None:
        file.unlink()
    else:
        file.write_bytes(written if isinstance(written, bytes) else written.encode())
    assert name_of(project.path) == project.path.name
