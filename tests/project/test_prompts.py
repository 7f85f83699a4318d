"""Prompt lists and templates: written by people, read as written, edited without losing a word of theirs."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.project import Project
from vcd_studio.project.prompts import Prompt, PromptList, expand, names_in, read_travel, resolve
from vcd_studio.project.text import plain


def one_line(error: Exception) -> None:
    """An error is one line without control characters."""
    assert plain(str(error)) == str(error)


LIST = """# My prompts, best first
[[prompt]]
text = "a <rex> dog in the {snow|rain}"   # the favourite
seeds = [7, 8]

# still trying
[[prompt]]
text = { 0 = "a <rex> dog sleeping", 8 = "a <rex> dog {jumping|running}" }
guidance = 6.5   # lower is calmer
name = "wake up"
"""


@pytest.fixture
def toml_list(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.toml"
    path.write_text(LIST)
    return path


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("a <rex> dog", ["a <rex> dog"]),
        ("a {red|blue} {cat|dog}", ["a red cat", "a red dog", "a blue cat", "a blue dog"]),
        ("V* {2$$a|b|c}", ["V* a,b", "V* a,c", "V* b,a", "V* b,c", "V* c,a", "V* c,b"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b", "b and a"]),
        ("{{a|b} c|d}", ["a c", "b c", "d"]),
        ("50% #1 $5 ~x @y !z {a|b}", ["50% #1 $5 ~x @y !z a", "50% #1 $5 ~x @y !z b"]),
        ("{a|a}", ["a"]),
        ("(a:1.2) [b] {x|y}", ["(a:1.2) [b] x", "(a:1.2) [b] y"]),
        ("a {|very} big dog", ["a big dog", "a very big dog"]),
    ],
)
def test_what_a_template_stands_for(template: str, texts: list[str]) -> None:
    assert expand(template) == texts


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("a {b|c", "never closed"),
        ("a b}", "never opened"),
        ("{|}", "can come out empty"),
        ("{" * 9 + "a" + "}" * 9, "nested more than 8 deep"),
        ("{100$$a|b}", "at most 99"),
        ("{a|b|c|d|e|f|g|h|i|j}" * 4, "more than 1000 prompts"),
        ("x" * 5000, "keep it under 4000"),
        ("__weather__", "has no list; known are: none"),
        ("a__b__c {d|e}", 'wildcard "__b__" has no list'),
        ("${x={a|b}} ${x", "closed"),
    ],
)
def test_templates_that_cannot_be(template: str, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as caught:
        expand(template)
    assert plain(str(caught.value)) == str(caught.value)


def test_wildcards_come_from_the_projects_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "wildcards"
    (folder / "sky").mkdir(parents=True)
    (folder / "weather.txt").write_text("# the weather\nsnow\n\n{light|heavy} rain\n__sky/cloud__\n")
    (folder / "sky/cloud.txt").write_text("grey clouds\n")
    assert set(expand("a dog, __weather__", folder)) == {"a dog, snow", "a dog, light rain", "a dog, heavy rain", "a dog, grey clouds"}
    with pytest.raises(InputError, match="known are: __sky/cloud__, __weather__"):
        expand("__wether__", folder)
    (tmp_path / "secret.txt").write_text("secret")
    for hostile in ("__../secret__", "__sky/../../secret__", "__/etc/passwd__"):
        try:
            assert "secret" not in str(expand(hostile + " {a|b}", folder)).replace(hostile, "")
        except InputError as error:
            one_line(error)
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ProjectError, match="leads out"):
        expand("__out__", folder)
    (folder / "loop.txt").write_text("again __loop__\n")
    with pytest.raises(InputError, match="leads back to itself"):
        expand("__loop__", folder)
    (folder / "empty.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match="is empty"):
        expand("__empty__", folder)


@settings(max_examples=200)
@given(st.text(alphabet="ab {}|$_#%<>V*2-,:~@!\n\x1b", max_size=40))
def test_any_template_expands_or_is_refused_in_one_line(template: str) -> None:
    try:
        texts = expand(template, limit=50)
    except InputError as error:
        one_line(error)
    else:
        assert 1 <= len(texts) <= 50
        assert len(set(texts)) == len(texts)
        assert all(text.strip() for text in texts)
        assert expand(template, limit=50) == texts


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.text(alphabet="abcdefgh", min_size=1, max_size=4), min_size=1, max_size=4, unique=True), min_size=1, max_size=3)
)
def test_choices_multiply(choices: list[list[str]]) -> None:
    texts = expand(" ".join("{" + "|".join(choice) + "}" for choice in choices))
    count = 1
    for choice in choices:
        count *= len(choice)
    assert len(texts) == count
    assert all(len(text.split(" ")) == len(choices) for text in texts)


@settings(max_examples=80)
@given(st.text(alphabet=st.characters(blacklist_characters="{}_", blacklist_categories=("Cs",)), min_size=1, max_size=80))
def test_text_without_marks_is_left_alone(text: str) -> None:
    if text.strip():
        assert expand(text) == [text.strip()]


def test_names() -> None:
    assert names_in("a <rex> dog and <tom> with <rex>, V* too; 1 < 2 and 3 > 2; MV* not") == ["<rex>", "<tom>", "V*"]
    assert names_in("a <lora:x:1>") == ["<lora:x:1>"]


def test_resolving_names(project: Project, photos: list[Path]) -> None:
    text, (rex,) = resolve("V* dog with V* and <rex>", project)
    assert (text, rex.name) == ("<rex> dog with <rex> and <rex>", "rex")
    assert resolve("no one", project) == ("no one", [])
    with pytest.raises(InputError, match=r'names "<rx>".*known are: <rex>'):
        resolve("a <rx> dog", project)
    project.add_identity("tom", "cat", photos)
    assert [identity.name for identity in resolve("<tom> and <rex>", project)[1]] == ["tom", "rex"]
    with pytest.raises(InputError, match=r"exactly one identity.*has 2"):
        resolve("V* dog", project)


def test_names_in_an_empty_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none yet; add one first"):
        resolve("a <rex> dog", Project.create(tmp_path / "empty"))


def test_a_list_is_read_with_lines_travels_and_overrides(toml_list: Path) -> None:
    first, second = PromptList.load(toml_list)
    assert (first.text, first.overrides, first.line) == ("a <rex> dog in the {snow|rain}", {"seeds": (7, 8)}, 2)
    assert second.travel == {0: "a <rex> dog sleeping", 8: "a <rex> dog {jumping|running}"}
    assert second.text is None
    assert (second.name, second.line) == ("wake up", 7)
    assert [one.travel for one in second.expanded()] == [
        {0: "a <rex> dog sleeping", 8: "a <rex> dog jumping"},
        {0: "a <rex> dog sleeping", 8: "a <rex> dog running"},
    ]


def test_edits_keep_comments(toml_list: Path) -> None:
    prompts = PromptList.load(toml_list)
    prompts.append("a <rex> dog on the beach", steps=30)
    prompts.replace(0, "a <rex> dog in a hat", guidance=5.0)
    prompts.replace(1, "0: a <rex> dog 4: a <rex> cat", guidance=None)
    text = toml_list.read_text()
    for comment in ("# My prompts, best first", "# the favourite", "# still trying"):
        assert comment in text
    again = PromptList.load(toml_list)
    assert [prompt.written for prompt in again] == ["a <rex> dog in a hat", "0: a <rex> dog 4: a <rex> cat", "a <rex> dog on the beach"]
    assert [prompt.overrides for prompt in again] == [{"seeds": (7, 8), "guidance": 5.0}, {}, {"steps": 30}]
    assert again[1].name == "wake up"
    prompts.remove(0)
    assert next(prompt.written for prompt in PromptList.load(toml_list)) == "0: a <rex> dog 4: a <rex> cat"


@pytest.mark.parametrize(
    "written",
    [
        "# only this\n",
        "",
        '# mine\n[[prompt]]\ntext = "a <rex> dog"  # the best\n# the end',
        '# mine\nprompt = [{ text = "a <rex> dog" }]  # in one line\n',
        "prompt = []  # none yet\n",
    ],
)
def test_a_prompt_can_be_appended_however_the_list_is_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text(written)
    before = [prompt.written for prompt in PromptList.load(path)]
    texts = ['a <rex> dog in a "hat" \\ {snow|rain}', "0: a dog 8: a <rex> cat"]
    PromptList.load(path).append(texts[0], seeds=(1, 2))
    PromptList.load(path).append(texts[1])
    again = PromptList.load(path)
    assert [prompt.written for prompt in again] == [*before, *texts]
    assert [prompt.overrides for prompt in again][-2:] == [{"seeds": (1, 2)}, {}]
    assert [line[line.index("#") :] for line in path.read_text().splitlines() if "#" in line] == [
        line[line.index("#") :] for line in written.splitlines() if "#" in line
    ]


def test_an_edit_over_someone_elses_is_refused(toml_list: Path) -> None:
    prompts = PromptList.load(toml_list)
    toml_list.write_text(LIST + "# theirs\n")
    with pytest.raises(ProjectError, match="changed by someone else"):
        prompts.append("mine")
    assert toml_list.read_text() == LIST + "# theirs\n"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("text = 3", "write the prompt as text"),
        ('text = ""', "write the prompt as text"),
        ("seeds = [1]", '"prompt.text" is missing'),
        ('text = { a = "x" }', "frame numbers"),
        ('text = { 4 = "x" }', "begin at 0"),
        ('text = { 0 = "" }', "frame without text"),
        ('text = "x"\ngidance = 3', 'did you mean "guidance"'),
        ('text = "x"\nguidance = "high"', '"high" is not right'),
    ],
)
def test_bad_entries_are_told_with_their_line(tmp_path: Path, entry: str, sentence: str) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text(f"\n[[prompt]]\n{entry}\n")
    with pytest.raises(ProjectError, match=re.escape(sentence)) as caught:
        PromptList.load(path)
    assert caught.value.line in (2, 3, 4)


def test_a_plain_list_with_flags(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(
        '# mine\na <rex> dog --n blurry, bad --s 30 --g 6 --d 7,8 --w 512 --h 768 --l 24 --f "the dog"\n\n0: asleep 8: awake --d 3\nplain\n'
    )
    first, second, _third = prompts = PromptList.load(path)
    assert first == Prompt(
        "a <rex> dog",
        None,
        {"negative": "blurry, bad", "steps": 30, "guidance": 6.0, "seeds": (7, 8), "width": 512, "height": 768, "frames": 24},
        2,
        "the dog",
    )
    assert (second.travel, second.overrides, second.line) == ({0: "asleep", 8: "awake"}, {"seeds": (3,)}, 4)
    prompts.append("a <rex> cat", seeds=[4], negative="dull")
    prompts.replace(2, "plainer")
    assert path.read_text().splitlines()[0] == "# mine"
    assert path.read_text().endswith("plainer\na <rex> cat --d 4 --n dull\n")
    prompts.remove(0)
    assert path.read_text() == "# mine\n\n0: asleep 8: awake --d 3\nplainer\na <rex> cat --d 4 --n dull\n"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("dog --x 3", "unknown flag --x"),
        ("dog --s", "has no value"),
        ("dog --s many", "a whole number"),
        ("dog --s 0", "steps"),
        ("--s 3", "no text"),
        ("dog --d 1,b", "whole numbers"),
    ],
)
def test_bad_flags_are_told_with_their_line(tmp_path: Path, line: str, sentence: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(f"fine\n{line}\n")
    with pytest.raises(ProjectError, match=sentence) as caught:
        PromptList.load(path)
    assert caught.value.line == 2


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=60),
    st.dictionaries(st.sampled_from(["steps", "guidance", "negative", "seeds", "frames"]), st.one_of(st.integers(), st.text(max_size=20))),
    st.sampled_from(["prompts.toml", "prompts.txt"]),
)
def test_what_is_appended_is_read_back_or_refused(tmp_path: Path, text: str, overrides: dict[str, object], name: str) -> None:
    path = tmp_path / name
    path.unlink(missing_ok=True)
    prompts = PromptList.load(path)
    try:
        made = prompts.append(text, **overrides)
    except InputError as error:
        one_line(error)
        assert len(PromptList.load(path)) == 0
    else:
        (again,) = PromptList.load(path)
        assert again == made
        assert made.written.strip() == text.strip()


def test_travels() -> None:
    assert read_travel("0: a 8: b c") == {0: "a", 8: "b c"}
    assert read_travel("a dog at 10: 30") is None
    assert read_travel("3: a 5: b") is None
    assert read_travel("0:a") is None
    with pytest.raises(InputError, match="begin at 0 and rise"):
        read_travel("0: a 8: b 4: c")
