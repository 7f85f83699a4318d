"""LoRA of a pack that a study's settings name."""

from __future__ import annotations

import pytest

from vcd_studio.evaluation.adapters import adapters
from vcd_studio.method.protocols import MethodError
from vcd_studio.models import load_pack
from vcd_studio.project.settings import PRESETS


def test_the_few_step_preset_wears_what_pocket_brings_at_the_strength_that_is_told() -> None:
    networks = load_pack("pocket")
    assert adapters({"steps": 4}, "pocket", networks) == []
    (whole,) = adapters(PRESETS["few-steps"], "pocket", networks)
    (half,) = adapters({"loras": ["few-steps:0.5"]}, "pocket", networks)
    assert (whole.strength, half.strength) == (1.0, 0.5)
    assert any(".motion_modules." in name for name in whole.changes)
    assert any(".motion_modules." not in name for name in whole.changes)


def test_one_that_is_not_there_is_named_with_its_place() -> None:
    with pytest.raises(MethodError, match=r'The pack "pocket" brings no LoRA "none"; put none\.safetensors into .*loras\.'):
        adapters({"loras": ["none"]}, "pocket", load_pack("pocket"))
