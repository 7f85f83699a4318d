"""What clips were told differently."""

from vcd_studio.project.recipes import apart, told, told_stage

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


def test_a_stage_is_told_its_settings_not_what_was_measured() -> None:
    assert told_stage(RECIPE, "t2v") == {"steps": 25}
    assert told_stage(RECIPE, "face") == {}


def test_recipes_of_any_kind_can_be_compared() -> None:
    odd = {"generation": 3, "identities": ["rex", {"name": 5}], "loras": {"file": 1}, "stages": []}
    assert apart([told(odd), told({})]) == {}
    assert told_stage(odd, "t2v") == {}
