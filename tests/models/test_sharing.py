"""A base is in memory once: clips and pictures are drawn with the same weights."""

from __future__ import annotations

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

from vcd_studio.catalog.packs import POCKET
from vcd_studio.models import load_pack
from vcd_studio.models.packs import with_motion


def test_clips_and_pictures_share_every_weight_of_the_base() -> None:
    networks = load_pack("pocket")
    spatial = dict(networks.unet.named_parameters())
    shared = {key for key, weight in networks.motion_unet.named_parameters() if key in spatial and weight is spatial[key]}
    assert shared == set(spatial)
    networks.unet.conv_in.weight.zero_()
    assert networks.motion_unet.conv_in.weight.eq(0).all()


def test_the_same_network_as_diffusers_puts_together() -> None:
    def parts() -> tuple[UNet2DConditionModel, MotionAdapter]:
        return UNet2DConditionModel.from_pretrained(POCKET / "unet"), MotionAdapter.from_pretrained(POCKET / "motion_adapter")

    theirs, ours = UNetMotionModel.from_unet2d(*parts()), with_motion(*parts())
    assert ours.config == theirs.config
    assert not any(tensor.is_meta for tensor in (*ours.parameters(), *ours.buffers()))
    mine = ours.state_dict()
    assert mine.keys() == theirs.state_dict().keys()
    assert all(torch.equal(mine[key], value) for key, value in theirs.state_dict().items())
