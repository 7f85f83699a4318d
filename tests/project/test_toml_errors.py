"""Whatever is wrong in a TOML file, the sentence says where and what would be right."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.project import ProjectFile
from vcd_studio.project.settings import PRESETS, TRAINING_PRESETS, GenerationSettings, TrainingSettings, override_from_text
from vcd_studio.project.text import plain
from vcd_studio.project.toml_file import edit_toml, examine_toml, key_lines, read_toml


def one_line(error: Exception) -> None:
    """An error is one line without control characters."""
    assert plain(str(error)) == str(error)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ('name = "x"\npack = \n', 2, "not valid TOML"),
        ('name = "x"\nname = "y"\n', 2, "not valid TOML"),
        ('name = "x"\n[defaults]\nframs = 8\n', 3, 'unknown key "frams"; did you mean "frames"?'),
        ('name = "x"\n[defaults]\nzzz = 8\n', 3, 'unknown key "zzz"; known are: frames, width'),
        ('name = "x"\npac = "pocket"\n', 2, 'did you mean "pack"'),
        ('pack = "pocket"\n', None, '"name" is missing'),
        ('name = "x"\n\n[defaults]\n# comment\nframes = "many"\n', 5, '"many" is not right for "defaults.frames": it must be an integer'),
        ('name = "x"\n[defaults]\nframes = true\n', 3, "defaults.frames"),
        ('name = "x"\n[defaults]\nwidth = 63\n', 3, "multiple of 8"),
        ('name = "x"\ndefaults.gamma = 1.5\n', 2, "less than or equal to 1"),
        ('name = "x"\n[defaults]\nseeds = [\n  1,\n  -2,\n]\n', 3, "greater than or equal to 0"),
        ('name = "x"\n[defaults]\nseeds = []\n', 3, "seeds"),
        ('name = "x"\n[defaults]\nseeds = [3, 3]\n', 3, "seed 3 is listed twice"),
        ('name = "x"\n[defaults]\nstages = ["t2v", "faces"]\n', 3, "'t2v', 'face' or 'tiled'"),
        ('name = "x"\n[defaults]\ncontext_overlap = 16\n', 2, "must be smaller than context_frames"),
        ('name = """\n[defaults]\nframes = 1\n"""\n', 1, "name"),
        ('name = "x"\n[defaults]\nguidance = nan\n', 3, "finite"),
        ('name = "a\\u001b[2Jb"\n', 1, "name"),
        ('name = "x"\ndefaults = {\n  seeds = [1],\n  frames = "many",\n}\n', 2, '"many" is not right for "defaults.frames"'),
    ],
)
def test_file_line_value_and_remedy(tmp_path: Path, text: str, line: int | None, sentence: str) -> None:
    path = tmp_path / "project.toml"
    path.write_text(text)
    with pytest.raises(ProjectError) as caught:
        read_toml(path, ProjectFile)
    error = caught.value
    assert sentence in str(error)
    assert str(path) in str(error)
    assert error.line == line
    assert plain(str(error)) == str(error)
    assert line is None or f"line {line}: " in str(error)


def test_every_problem_is_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "project.toml"
    path.write_text('nam = "x"\n[defaults]\nfps = 0\nsteps = 0\n')
    assert {problem.line for problem in examine_toml(path, ProjectFile)[1]} == {None, 1, 3, 4}


@pytest.mark.parametrize(
    "data", [b"\xff\xfename", b"name = '\xe9'", b"a = " + b"[" * 100_000, b"a = 1" + b"0" * 10_000, b"\0", b"[" * 5000]
)
def test_files_that_are_no_text_or_absurd(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "project.toml"
    path.write_bytes(data)
    with pytest.raises(ProjectError) as caught:
        read_toml(path, ProjectFile)
    assert plain(str(caught.value)) == str(caught.value)
    assert len(str(caught.value)) < 500


def test_missing_files_folders_and_giants(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ProjectError, match="missing"):
            read_toml(path, ProjectFile)
    giant = tmp_path / "giant.toml"
    with giant.open("wb") as file:
        file.truncate(10**8)
    with pytest.raises(ProjectError, match="larger than"):
        read_toml(giant, ProjectFile)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="name=\"x\n[]defaults.# \\u'{},1-\x1b", max_size=120).map(str.encode)))
def test_any_file_reads_or_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(data)
    try:
        read_toml(path, ProjectFile)
    except ProjectError as error:
        one_line(error)


def test_key_lines_sees_tables_arrays_and_long_strings() -> None:
    text = 'a = 1\n[t]\nb.c = 2\n"d e" = """\nb = 9\n[no]\n"""\n[[p]]\nx = 1 # """\n[[p]]\nx = 2\n[p.q]\ny = 3\n[[p.r]]\nz = 4\n'
    lines = key_lines(text)
    assert lines[("a",)] == 1
    assert lines[("t",)] == 2
    assert lines[("t", "b", "c")] == 3
    assert lines[("t", "d e")] == 4
    assert lines[("p", 0, "x")] == 9
    assert lines[("p", 1, "x")] == 11
    assert lines[("p", 1, "q", "y")] == 13
    assert lines[("p", 1, "r", 0, "z")] == 15
    assert ("no",) not in lines


def test_a_table_on_many_lines_is_read_and_edited(tmp_path: Path) -> None:
    """TOML 1.1, whatever Python's own parser knows."""
    path = tmp_path / "project.toml"
    path.write_text('name = "x"\ndefaults = {\n  frames = 8,  # few\n  seeds = [1, 2],\n}\n')
    assert read_toml(path, ProjectFile).defaults.frames == 8
    edit_toml(path, ProjectFile, lambda document: document["defaults"].update({"frames": 16}))  # type: ignore[union-attr]
    assert path.read_text() == 'name = "x"\ndefaults = {\n  frames = 16,  # few\n  seeds = [1, 2],\n}\n'


def test_an_edit_that_cannot_be_written_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "project.toml"
    path.write_text("# mine\nname = 'a'\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="no space left on device"):
        edit_toml(path, ProjectFile, lambda document: document.update(name="b"))
    assert path.read_text() == "# mine\nname = 'a'\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["project.toml"]


@pytest.mark.parametrize("value", ["\x1b", "\udcff", ""])
def test_an_edit_that_would_not_read_back_is_not_written(tmp_path: Path, value: str) -> None:
    path = tmp_path / "project.toml"
    path.write_text("name = 'a' # mine\n")
    with pytest.raises(ProjectError):
        edit_toml(path, ProjectFile, lambda document: document.update(name=value))
    assert path.read_text() == "name = 'a' # mine\n"


def test_overrides_name_the_key_and_keep_the_rest() -> None:
    changed = GenerationSettings(fps=12).with_overrides({"guidance": 8, "stages": ["tiled", "t2v"]})
    assert (changed.fps, changed.guidance, changed.stages) == (12, 8.0, ("t2v", "tiled"))
    with pytest.raises(InputError, match='Unknown key "gidance"; did you mean "guidance"'):
        GenerationSettings().with_overrides({"gidance": 8})
    with pytest.raises(InputError, match="lcm takes at most 50 steps, not 51"):
        GenerationSettings().with_overrides({"scheduler": "lcm", "steps": 51})
    assert GenerationSettings().with_overrides({"scheduler": "lcm", "steps": 8}).steps == 8
    with pytest.raises(InputError, match=r"here: .*\"many\" is not right for \"steps\""):
        GenerationSettings().with_overrides({"steps": "many"}, where="here")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"guidance_from": 0.8, "guidance_until": 0.8}, "Guidance must begin .* before it ends .* set guidance to 1"),
        ({"guidance_until": 0.0}, "guidance_until"),
        ({"cache_every": 0}, "cache_every"),
        ({"merge_tokens": 0.8}, "merge_tokens"),
    ],
)
def test_savers_have_their_bounds(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        GenerationSettings().with_overrides(wrong)


def test_every_preset_is_valid() -> None:
    for preset in PRESETS.values():
        GenerationSettings().with_overrides(preset)
    for preset in TRAINING_PRESETS.values():
        TrainingSettings().with_overrides(preset)
    assert GenerationSettings().with_overrides(PRESETS["released"]).gamma == 0.05


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("steps=30", ("steps", 30)),
        ("guidance = 6.5", ("guidance", 6.5)),
        ("scheduler=dpm++", ("scheduler", "dpm++")),
        ("stages=t2v,face", ("stages", ["t2v", "face"])),
        ("seeds=1,2", ("seeds", [1, 2])),
        ('negative="a = b"', ("negative", "a = b")),
        ("negative=blurry, bad", ("negative", "blurry, bad")),
    ],
)
def test_a_setting_on_the_command_line(text: str, pair: tuple[str, object]) -> None:
    assert override_from_text(text) == pair
    GenerationSettings().with_overrides(dict([pair]))


def test_a_setting_without_a_value() -> None:
    with pytest.raises(InputError, match="write it as key=value"):
        override_from_text("steps")
