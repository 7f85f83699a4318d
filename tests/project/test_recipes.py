"""What clips were told differently."""

from vcd_studio.project.recipes import apart, measured, once_more, told, told_stage

RECIPE = {
    "prompt": "a dog",
    "seed": 1,
    "generation": {"steps": 25, "stages": ["t2v"]},
    "identities": [{"name": "rex", "run": "run-001", "sha256": "0"}],
    "loras": [{"file": "/far/away/ink.safetensors", "strength": 0.5}],
    "stages": {"t2v": {"steps": 25, "seconds": 3.0, "report": {"tiles": 4}}},
}


def test_only_what_differs_is_told() -> None:
    other = {**RECIPE, "seed": 2, "generation": {"steps": 25, "stages": ["t2v"], "gamma": 0.0}, "identities": [], "loras": []}
    assert apart([told(RECIPE), told(other)]) == {
        "seed": (1, 2),
        "identity rex": ("run-001", None),
        "LoRA ink.safetensors": (0.5, None),
        "gamma": (None, 0.0),
    }
    assert apart([told(RECIPE), told(RECIPE)]) == {}


def test_a_stage_that_was_told_something_else_than_the_clip_says_so() -> None:
    stages = {"t2v": {"seed": 1, "steps": 25}, "tiled": {"seed": 9, "steps": 4}}
    fork = {**RECIPE, "stages": stages}
    assert apart([told(RECIPE), told(fork)]) == {"tiled: seed": (None, 9), "tiled: steps": (None, 4)}


def test_a_stage_is_told_its_settings_not_what_was_measured() -> None:
    assert told_stage(RECIPE, "t2v") == {"steps": 25}
    assert told_stage(RECIPE, "face") == {}


def test_recipes_of_any_kind_can_be_compared() -> None:
    odd = {"generation": 3, "identities": ["rex", {"name": 5}], "loras": {"file": 1}, "stages": []}
    assert apart([told(odd), told({})]) == {}
    assert told_stage(odd, "t2v") == {}


def test_what_was_measured() -> None:
    assert measured(RECIPE) == [("t2v", "seconds", "3"), ("t2v", "tiles", "4")]
    report = {"seam_score": 1.0625, "controlled": True, "memory": ["less", "lesser"], "new": 3}
    assert measured({"stages": {"tiled": {"report": report}, "odd": 5}}) == [
        ("tiled", "seam score (1: no seam to be seen)", "1.062"),
        ("tiled", "led by a tile ControlNet", "yes"),
        ("tiled", "given up for memory", "less, lesser"),
        ("tiled", "new", "3"),
    ]
    assert measured({"stages": "none"}) == []


def test_whether_a_clip_came_out_the_same() -> None:
    assert once_more({"reproduces": {"id": "dog-001", "verdict": "All the same."}}) == ("dog-001", "All the same.")
    assert once_more({"reproduces": "dog-001"}) is None
    assert once_more({}) is None
