"""The table of packs that can be fetched."""

from __future__ import annotations

import itertools

import pytest

from vcd_studio.catalog.packs import PARTS, PackMissing
from vcd_studio.catalog.shipped import motions, shipped_names, shipped_pack
from vcd_studio.project.settings import GenerationSettings

EVERY = list(itertools.product(shipped_names(), motions(), (False, True)))


@pytest.mark.parametrize(("name", "motion", "small"), EVERY)
def test_every_pack_is_whole(name: str, motion: str, small: bool) -> None:
    pack = shipped_pack(name, motion, small=small)
    parts = [file.part for file in pack.files if file.part != "lora"]
    assert len(parts) == len(set(parts))
    assert {"base", "motion_adapter", "controlnet", "upscaler", "grounding", "segmenter", "faces"} <= set(parts) <= {*PARTS, "bert"}
    assert all(file.licence and file.purpose and file.bytes > 0 and file.repo.count("/") == 1 for file in pack.files)
    GenerationSettings().with_overrides(pack.defaults)
    assert pack.trains_on in ("", "sd15")
    assert (pack.trains_on == "") == (name == "sd15")


def test_names_and_few_steps() -> None:
    assert shipped_pack("sd15").name == "sd15"
    lightning = shipped_pack("toonyou-beta-3", "lightning")
    assert (lightning.name, lightning.defaults["scheduler"]) == ("toonyou-beta-3-lightning", "lightning")
    lcm = shipped_pack("sd15", "lcm")
    assert (lcm.name, lcm.trains_on, lcm.lora_strength) == ("sd15-lcm", "", 0.8)
    assert shipped_pack("sd15", small=True).bytes < shipped_pack("sd15").bytes - 2e9


@pytest.mark.parametrize(
    ("name", "motion", "said"), [("sdxl", "", 'no pack "sdxl" to pull; there are sd15'), ("sd15", "v9", 'no motion "v9"; choose one of v2')]
)
def test_other_names(name: str, motion: str, said: str) -> None:
    with pytest.raises(PackMissing, match=said):
        shipped_pack(name, motion)
