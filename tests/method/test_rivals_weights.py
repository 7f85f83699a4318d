"""Weights that an identity changes: the file, and networks that wear them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline, MotionAdapter, StableDiffusionPipeline, UNet2DConditionModel, UNetMotionModel
from safetensors.torch import load_file, save_file
from tiny import tiny_networks

from vcd_studio.method.conditioning import encode
from vcd_studio.method.finetuning.lora import TARGETS
from vcd_studio.method.finetuning.weights import LowRank, NetworkWeights, twin, worn
from vcd_studio.method.protocols import MethodError, Networks

QUERY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight"
CONV = "conv_in.weight"


@pytest.fixture(scope="module")
def networks() -> Networks:
    """One for all tests here, since nothing may change it."""
    return tiny_networks()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def a_lora(networks: Networks, rank: int = 2) -> NetworkWeights:
    """Every attention projection by something one can see."""
    shapes = {name: p.shape for name, p in networks.unet.named_parameters() if any(name.endswith(f"{t}.weight") for t in TARGETS)}
    changes = {
        name: LowRank(noise(rank, columns, seed=i) / 2, noise(rows, rank, seed=i + 1) / 2)
        for i, (name, (rows, columns)) in enumerate(shapes.items())
    }
    return NetworkWeights(changes, {"method": "lora", "noun": "dog"})


def picture(networks: Networks) -> torch.Tensor:
    with torch.no_grad():
        return networks.unet(noise(1, 4, 8, 8), 500, encoder_hidden_states=encode("a dog", networks).clone()).sample


def clip(networks: Networks) -> torch.Tensor:
    with torch.no_grad():
        return networks.motion_unet(
            noise(1, 4, 3, 8, 8), 500, encoder_hidden_states=encode("a dog", networks).clone().repeat(3, 1, 1)
        ).sample


def test_every_parameter_of_the_picture_unet_is_in_the_motion_unet(networks: Networks) -> None:
    motion = dict(networks.motion_unet.named_parameters())
    assert all(torch.equal(motion[name], parameter) for name, parameter in networks.unet.named_parameters())
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, sample_size=64)  # SD 1.5
        full = dict(UNetMotionModel.from_unet2d(unet, MotionAdapter(use_motion_mid_block=False)).named_parameters())
    assert len(dict(unet.named_parameters())) == 686
    assert all(full[name].shape == parameter.shape for name, parameter in unet.named_parameters())


def test_worn_weights_add_up_in_both_unets_and_the_base_is_not_touched(networks: Networks) -> None:
    base = {name: (parameter, parameter.clone()) for name, parameter in networks.motion_unet.named_parameters()}
    before = picture(networks), clip(networks)
    lora, full = a_lora(networks), NetworkWeights({QUERY: noise(64, 64).half(), CONV: noise(32, 4, 3, 3)})
    dressed = worn(networks, [lora.at(0.5), full])
    for unet, plain in ((dressed.unet, networks.unet), (dressed.motion_unet, networks.motion_unet)):
        was, now = dict(plain.named_parameters()), dict(unet.named_parameters())
        change = lora.changes[QUERY]
        assert isinstance(change, LowRank)
        expected = was[QUERY] + 0.5 * (change.up @ change.down) + full.changes[QUERY].float()
        assert torch.allclose(now[QUERY], expected, atol=1e-6)
        assert torch.allclose(now[CONV], was[CONV] + full.changes[CONV])
        assert all(now[name] is was[name] for name in was if name not in lora.changes and name != CONV)
        assert not any(parameter.requires_grad for parameter in now.values())
    assert dict(dressed.unet.named_parameters())[QUERY] is not dict(networks.unet.named_parameters())[QUERY]
    shared = dict(dressed.unet.named_parameters())[CONV].data_ptr()
    assert dict(dressed.motion_unet.named_parameters())[CONV].data_ptr() == shared
    assert (picture(dressed) - before[0]).abs().max() > 1e-2
    assert (clip(dressed) - before[1]).abs().max() > 1e-2
    for name, parameter in networks.motion_unet.named_parameters():
        assert parameter is base[name][0]
        assert torch.equal(parameter, base[name][1])
    assert torch.equal(picture(networks), before[0])
    assert torch.equal(clip(networks), before[1])


def test_nothing_worn_is_the_same_networks_and_strength_has_bounds(networks: Networks) -> None:
    lora = a_lora(networks)
    assert worn(networks, []) is networks
    assert worn(networks, [lora.at(0)]) is networks
    again = worn(worn(networks, [lora.at(0.25)]), [lora.at(0.75)])
    assert torch.allclose(picture(again), picture(worn(networks, [lora])), atol=1e-4)
    for strength in (-4.1, 5, float("nan")):
        with pytest.raises(MethodError, match="from -4 to 4"):
            lora.at(strength)


def test_half_precision_networks_stay_so() -> None:
    networks = tiny_networks()
    networks.unet.half()
    networks.motion_unet.half()
    dressed = worn(networks, [a_lora(networks), NetworkWeights({CONV: noise(32, 4, 3, 3)})])
    assert {parameter.dtype for parameter in dressed.unet.parameters()} == {torch.float16}
    exact = networks.unet.conv_in.weight.float() + noise(32, 4, 3, 3)
    assert torch.equal(dressed.unet.conv_in.weight, exact.half())


def test_a_lora_file_reads_in_diffusers_and_back(networks: Networks, tmp_path: Path) -> None:
    lora = a_lora(networks)
    lora.save(tmp_path / "rex.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["rex.safetensors"]
    back = NetworkWeights.load(tmp_path / "rex.safetensors")
    assert back.metadata == {"format": "pt", **lora.metadata}
    assert back.bytes == lora.bytes == (tmp_path / "rex.safetensors").stat().st_size - _head(tmp_path / "rex.safetensors")
    dressed, again = worn(networks, [lora]), worn(networks, [back])
    assert torch.equal(picture(again), picture(dressed))
    parts = {"vae": networks.vae, "text_encoder": networks.text_encoder, "tokenizer": networks.tokenizer, "scheduler": networks.scheduler}
    still = StableDiffusionPipeline(
        **parts, unet=twin(networks.unet, {}), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    still.load_lora_weights(tmp_path, weight_name="rex.safetensors")
    assert torch.allclose(picture(dressed), picture(replace(networks, unet=still.unet)), atol=1e-5)
    assert (picture(dressed) - picture(networks)).abs().max() > 1e-2
    moving = AnimateDiffPipeline(**parts, unet=twin(networks.motion_unet, {}), motion_adapter=None)
    moving.load_lora_weights(tmp_path, weight_name="rex.safetensors")
    assert torch.allclose(clip(dressed), clip(replace(networks, motion_unet=moving.unet)), atol=1e-5)


def _head(path: Path) -> int:
    """How many bytes of a safetensors file are not tensors."""
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def test_a_lora_from_diffusers_older_writer_and_a_scale_are_read(networks: Networks, tmp_path: Path) -> None:
    change = LowRank(noise(2, 64), noise(64, 2, seed=1), scale=0.5)
    NetworkWeights({QUERY: change}).save(tmp_path / "new.safetensors")
    tensors = load_file(tmp_path / "new.safetensors")
    older = {key.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): tensor for key, tensor in tensors.items()}
    save_file(older, tmp_path / "old.safetensors")
    for name in ("new", "old"):
        read = NetworkWeights.load(tmp_path / f"{name}.safetensors").changes[QUERY]
        assert isinstance(read, LowRank)
        assert torch.allclose(read.full(), 0.5 * change.up @ change.down)


def test_a_low_rank_change_of_a_convolution_fits_its_kernel(networks: Networks) -> None:
    change = LowRank(noise(2, 4, 3, 3), noise(32, 2, 1, 1, seed=1))
    dressed = worn(networks, [NetworkWeights({CONV: change})])
    expected = networks.unet.conv_in.weight + torch.einsum("orxy,rihw->oihw", change.up, change.down)
    assert torch.allclose(dressed.unet.conv_in.weight, expected, atol=1e-5)


def test_full_differences_are_kept_in_a_file_of_16_bits(networks: Networks, tmp_path: Path) -> None:
    small = NetworkWeights({QUERY: (noise(64, 64) * 1e-4).half(), CONV: noise(32, 4, 3, 3).half()}, {"method": "dreambooth"})
    small.save(tmp_path / "w.safetensors")
    back = NetworkWeights.load(tmp_path / "w.safetensors")
    assert all(torch.equal(back.changes[name], tensor) for name, tensor in small.changes.items())
    assert {tensor.dtype for tensor in back.changes.values()} == {torch.float16}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"down_blocks.9.conv.weight": torch.zeros(2)}, r"change down_blocks\.9\.conv\.weight, which this UNet does not have"),
        ({CONV: torch.zeros(32, 4, 3)}, "by 32 × 4 × 3 numbers, but this UNet has 32 × 4 × 3 × 3 there"),
        ({QUERY: LowRank(torch.zeros(2, 320), torch.zeros(64, 2))}, "by 64 × 320 numbers, but this UNet has 64 × 64 there"),
    ],
)
def test_weights_of_another_base_are_one_sentence(networks: Networks, changes: dict[str, torch.Tensor | LowRank], said: str) -> None:
    with pytest.raises(MethodError, match=said + ".*another family of models") as caught:
        worn(networks, [NetworkWeights(changes)])
    assert "\n" not in str(caught.value)


def test_only_whole_safetensors_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    save_file({"lora_unet_mid_block.lora_down.weight": torch.zeros(1, 1)}, tmp_path / "kohya.safetensors")
    save_file({"text_encoder.q.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "text.safetensors")
    save_file({"unet.q.lora_A.weight": torch.zeros(2, 3)}, tmp_path / "half.safetensors")
    mismatched = {"unet.q.lora_A.weight": torch.zeros(2, 3), "unet.q.lora_B.weight": torch.zeros(3, 1)}
    save_file(mismatched, tmp_path / "mismatched.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    for name, said in (
        ("w.pt", "not safetensors"),
        ("torn.safetensors", "cannot be read as safetensors"),
        ("missing.safetensors", "cannot be read as safetensors"),
        ("kohya.safetensors", '"lora_unet_mid_block.lora_down.weight", which is no change'),
        ("text.safetensors", "leave out what changes the text encoder"),
        ("half.safetensors", r"of q\.weight it does not hold the two matching halves"),
        ("mismatched.safetensors", r"of q\.weight it does not hold the two matching halves"),
        ("empty.safetensors", "holds no weights"),
    ):
        with pytest.raises(MethodError, match=said):
            NetworkWeights.load(tmp_path / name)


def test_a_twin_shares_everything_it_does_not_own(networks: Networks) -> None:
    own = torch.nn.Parameter(torch.zeros(32, 4, 3, 3))
    second = twin(networks.unet, {CONV: own})
    assert second.conv_in.weight is own
    assert second.mid_block.attentions[0].norm.weight is networks.unet.mid_block.attentions[0].norm.weight
    assert second is not networks.unet
    assert networks.unet.conv_in.weight is not own
    tables = [(a, b) for a, b in zip(networks.motion_unet.buffers(), twin(networks.motion_unet, {}).buffers(), strict=True)]
    assert tables
    assert all(a is b for a, b in tables)


def test_two_bases_with_other_numbers_get_each_its_own_sum(networks: Networks) -> None:
    """A picture UNet that is not the motion UNet's own base: nothing is shared by mistake."""
    other = replace(networks, unet=tiny_networks(seed=5).unet)
    dressed = worn(other, [NetworkWeights({CONV: noise(32, 4, 3, 3)})])
    assert torch.allclose(dressed.unet.conv_in.weight, other.unet.conv_in.weight + noise(32, 4, 3, 3))
    assert torch.allclose(dressed.motion_unet.conv_in.weight, networks.motion_unet.conv_in.weight + noise(32, 4, 3, 3))
