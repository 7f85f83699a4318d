"""LoRA and motion LoRA of other trainers: each layout changes the networks as diffusers' own loader has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline, StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from tests.catalog import layouts
from tests.method.tiny import WIDTH, tiny_networks
from vcd_studio.method.conditioning import encode
from vcd_studio.method.finetuning.weights import NetworkWeights, twin, worn
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.models import loras
from vcd_studio.models.loras import load_lora

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def networks() -> Networks:
    return tiny_networks()


@pytest.fixture(autouse=True)
def tiny_is_sd15(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny networks' text is 32 wide: the rule that tells families apart by width looks away."""
    monkeypatch.setattr("vcd_studio.catalog.recognise.SD1", WIDTH)


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 3


def halves(network: torch.nn.Module, ends: tuple[str, ...], rank: int = 2) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Module name → (down, up), for every linear layer whose name ends so."""
    found = {n.removesuffix(".weight"): p.shape for n, p in network.named_parameters() if n.removesuffix(".weight").endswith(ends)}
    return {name: (noise(rank, s[1], seed=i), noise(s[0], rank, seed=1000 + i)) for i, (name, s) in enumerate(found.items())}


UNET = ("attn1.to_q", "attn2.to_k", "attn2.to_v", "attn1.to_out.0", "ff.net.0.proj")
TEXT = ("q_proj", "v_proj", "fc1")


def kohya(networks: Networks) -> State:
    state: State = {}
    for front, network, ends in (("lora_unet_", networks.unet, UNET), ("lora_te_text_model_", networks.text_encoder, TEXT)):
        for module, (down, up) in halves(network, ends).items():
            name = front + module.removeprefix("text_model.").replace(".", "_")
            state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(1.0)}
    return state


def diffusers_now(networks: Networks) -> State:
    return {
        f"{front}{module}.lora_{side}.weight": half
        for front, network, ends in (("unet.", networks.unet, UNET), ("text_encoder.text_model.", networks.text_encoder, TEXT))
        for module, pair in halves(network, ends).items()
        for side, half in zip("AB", pair, strict=True)
    }


def diffusers_before(networks: Networks) -> State:
    return {
        f"{front}{module}{end}.{side}.weight": half
        for front, network, ends, end in (
            ("unet.", networks.unet, UNET, ".lora"),
            ("text_encoder.text_model.", networks.text_encoder, TEXT, ".lora_linear_layer"),
        )
        for module, pair in halves(network, ends).items()
        for side, half in zip(("down", "up"), pair, strict=True)
    }


def picture(networks: Networks) -> torch.Tensor:
    with torch.no_grad():
        words = encode("a dog running", networks).clone()
        return networks.unet(noise(1, 4, 8, 8, seed=7), 500, encoder_hidden_states=words).sample


def clip(networks: Networks) -> torch.Tensor:
    with torch.no_grad():
        words = encode("a dog running", networks).clone().repeat(3, 1, 1)
        return networks.motion_unet(noise(1, 4, 3, 8, 8, seed=7), 500, encoder_hidden_states=words).sample


def wearing(networks: Networks, path: Path, strength: float = 1.0) -> Networks:
    lora = load_lora(path, networks)
    return worn(networks, [NetworkWeights(lora.unet, text_changes=lora.text_encoder).at(strength)])


def by_diffusers(networks: Networks, state: State, folder: Path) -> Networks:
    """The UNet's part alone: beside transformers 5, diffusers 0.42 does not find the text encoder's layers any more."""
    save_file({key: half for key, half in state.items() if "unet" in key}, folder / "unet.safetensors")
    parts = {"vae": networks.vae, "tokenizer": networks.tokenizer, "scheduler": networks.scheduler, "safety_checker": None}
    pipeline = StableDiffusionPipeline(
        **parts, text_encoder=None, unet=twin(networks.unet, {}), feature_extractor=None, requires_safety_checker=False
    )
    pipeline.load_lora_weights(folder, weight_name="unet.safetensors")
    return replace(networks, unet=pipeline.unet)


@pytest.mark.parametrize(("layout", "scale"), [(kohya, 0.5), (diffusers_now, 1.0), (diffusers_before, 1.0)])
def test_a_lora_changes_both_networks(layout: Callable[[Networks], State], scale: float, networks: Networks, tmp_path: Path) -> None:
    path, plain = tmp_path / "style.safetensors", picture(networks)
    save_file(layout(networks), path)
    ours = wearing(networks, path)
    text = dict(ours.text_encoder.named_parameters())
    for module, (down, up) in halves(networks.text_encoder, TEXT).items():
        name = f"{module}.weight"
        assert torch.allclose(text[name], networks.text_encoder.get_parameter(name) + scale * up @ down, atol=1e-5)
    assert (encode("a dog", ours) - encode("a dog", networks)).abs().max() > 1e-2
    theirs = by_diffusers(networks, layout(networks), tmp_path)
    assert torch.allclose(picture(replace(ours, text_encoder=networks.text_encoder)), picture(theirs), atol=1e-5)
    assert (picture(theirs) - plain).abs().max() > 1e-2
    assert torch.equal(picture(networks), plain)  # and nothing is left of it
    assert (clip(ours) - clip(networks)).abs().max() > 1e-2


def test_a_pickled_lora_and_a_strength_below_0(networks: Networks, tmp_path: Path) -> None:
    torch.save({"state_dict": kohya(networks)}, tmp_path / "style.pt")
    there_and_back = wearing(wearing(networks, tmp_path / "style.pt", 0.7), tmp_path / "style.pt", -0.7)
    assert torch.allclose(picture(there_and_back), picture(networks), atol=1e-4)


def test_a_locon_changes_convolutions(networks: Networks, tmp_path: Path) -> None:
    (name,) = [n for n, _ in networks.unet.named_parameters() if n == "down_blocks.0.resnets.0.conv1.weight"]
    shape = networks.unet.get_parameter(name).shape
    down, up = noise(2, *shape[1:], seed=1), noise(shape[0], 2, 1, 1, seed=2)
    attention = {key: half for key, half in kohya(networks).items() if key.startswith("lora_unet_")}
    layer = "lora_unet_down_blocks_0_resnets_0_conv1"
    save_file(attention | {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}, tmp_path / "l.safetensors")
    changed = dict(wearing(networks, tmp_path / "l.safetensors").unet.named_parameters())[name]
    assert torch.allclose(changed - networks.unet.get_parameter(name), torch.einsum("orxy,rihw->oihw", up, down), atol=1e-5)


def test_pefts_folder_says_its_scale(networks: Networks, tmp_path: Path) -> None:
    model = get_peft_model(twin(networks.unet, {}), LoraConfig(r=2, lora_alpha=6, target_modules=["to_q", "to_k"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        theirs = picture(replace(networks, unet=model.base_model.model))
    assert (theirs - picture(networks)).abs().max() > 1e-2
    assert torch.allclose(picture(wearing(networks, tmp_path)), theirs, atol=1e-5)
    (tmp_path / "adapter_config.json").write_text('{"r": 0, "lora_alpha": 1}')
    with pytest.raises(MethodError, match=r"no folder of peft's: it should hold adapter_config\.json"):
        load_lora(tmp_path, networks)


def test_diffusers_metadata_says_the_scale(networks: Networks, tmp_path: Path) -> None:
    facts = {"unet.r": 2, "unet.lora_alpha": 5}
    state = {key: half for key, half in diffusers_now(networks).items() if key.startswith("unet.")}
    save_file(state, tmp_path / "l.safetensors", {loras.DIFFUSERS_FACTS: json.dumps(facts), "format": "pt"})
    assert {change.scale for change in load_lora(tmp_path / "l.safetensors", networks).unet.values()} == {2.5}


def motion_halves(networks: Networks) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    return {name: pair for name, pair in halves(networks.motion_unet, ("to_q", "to_out.0")).items() if "motion_modules" in name}


def original(module: str) -> str:
    """AnimateDiff's own name for a layer of its motion modules."""
    module = module.replace(".transformer_blocks.", ".temporal_transformer.transformer_blocks.")
    module = module.replace(".attn1.", ".attention_blocks.0.processor.").replace(".attn2.", ".attention_blocks.1.processor.")
    return module.removesuffix(".0")


def test_motion_loras_change_clips_alone_in_either_layout(networks: Networks, tmp_path: Path) -> None:
    theirs = {f"unet.{n}.lora_{s}.weight": half for n, pair in motion_halves(networks).items() for s, half in zip("AB", pair, strict=True)}
    first = {
        f"module.{original(n)}_lora.{s}.weight": half
        for n, pair in motion_halves(networks).items()
        for s, half in zip(("down", "up"), pair, strict=True)
    }
    save_file(theirs, tmp_path / "zoom.safetensors")
    torch.save({"state_dict": first, "epoch": 1}, tmp_path / "zoom.ckpt")
    parts = {"vae": networks.vae, "text_encoder": networks.text_encoder, "tokenizer": networks.tokenizer, "scheduler": networks.scheduler}
    pipeline = AnimateDiffPipeline(**parts, unet=twin(networks.motion_unet, {}), motion_adapter=None)
    pipeline.load_lora_weights(tmp_path, weight_name="zoom.safetensors")
    expected = clip(replace(networks, motion_unet=pipeline.unet))
    assert (expected - clip(networks)).abs().max() > 1e-2
    for name in ("zoom.safetensors", "zoom.ckpt"):
        dressed = wearing(networks, tmp_path / name)
        assert torch.allclose(clip(dressed), expected, atol=1e-5)
        assert dressed.unet is networks.unet


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"emb_params": torch.zeros(2, WIDTH)}, "is a textual inversion.*a LoRA for SD 1.5 is needed"),
        ({"what.ever": torch.zeros(2, 2)}, "is of no layout that is known here"),
    ],
)
def test_other_files_are_told(state: State, said: str, networks: Networks, tmp_path: Path) -> None:
    save_file(state, tmp_path / "l.safetensors")
    with pytest.raises(MethodError, match=said):
        load_lora(tmp_path / "l.safetensors", networks)


def changed(networks: Networks, change: Mapping[str, torch.Tensor | None]) -> State:
    state: State = {**kohya(networks)}
    for key, tensor in change.items():
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor
    return state


LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({f"{LAYER}.dora_scale": torch.ones(1)}, "dora_scale.*LoHa, LoKr and DoRA cannot be used"),
        ({f"{LAYER}.lora_up.weight": None}, "is damaged: of .*attn2_to_k it does not hold the two matching halves"),
        ({f"{LAYER}.lora_mid.weight": torch.zeros(2, 2)}, "three factors"),
        ({"lora_unet_down_blocks_8_conv.lora_down.weight": torch.zeros(2, 4)}, "made for another base"),
    ],
)
def test_what_is_no_plain_lora_is_one_sentence(change: State, said: str, networks: Networks, tmp_path: Path) -> None:
    save_file(changed(networks, change), tmp_path / "l.safetensors")
    with pytest.raises(MethodError, match=said) as caught:
        load_lora(tmp_path / "l.safetensors", networks)
    assert "\n" not in str(caught.value)


def test_published_layouts_fit_sd15() -> None:
    """Every key of the published files' tables finds its place in SD 1.5 with AnimateDiff v2's motion modules."""
    from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

    with torch.device("meta"):
        unet = UNetMotionModel.from_unet2d(UNet2DConditionModel(cross_attention_dim=768), MotionAdapter(), load_weights=False)
    names = loras._names(unet)
    for table in (layouts.kohya_lora(), layouts.diffusers_lora(), layouts.diffusers_lora(peft=True), layouts.motion_lora()):
        modules = loras._modules(Path("l"), {key: torch.empty(shape, device="meta") for key, shape in table.items()})
        inside = [loras._plain(module) for module in modules if not module.startswith("lora_te")]
        assert inside
        assert all(name in names or f"{name}_0" in names for name in inside)
