"""What a pack lacks to judge clips is said with the remedy that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vcd_studio.catalog.packs import Pack, find_pack
from vcd_studio.evaluation.judges import PARTS, load_judges
from vcd_studio.method.protocols import MethodError


def without(*missing: str) -> Pack:
    class Lacking(Pack):
        def part(self, name: str) -> Path | None:
            return None if name in missing else self.folder / name

    return Lacking(**vars(find_pack("pocket")))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("dino",), r"no dino .*give --dino\."),
        (("clip", "dino"), r"no clip, dino .*give --clip and --dino\."),
        (PARTS, "run the study on the pack pocket"),
    ],
)
def test_the_remedy_fits_what_is_missing(missing: tuple[str, ...], said: str) -> None:
    with pytest.raises(MethodError, match=said):
        load_judges(without(*missing), torch.device("cpu"))


def test_an_encoder_that_is_given_is_not_missing() -> None:
    with pytest.raises(MethodError, match="no clip to judge"):
        load_judges(without("clip", "dino"), torch.device("cpu"), dino="facebook/dino-vits16")
