"""What a pack takes, where its networks go, and that those which take turns give the very same clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.catalog import layouts
from tests.catalog.test_discovery import write
from tests.method.tiny import tiny_networks
from tests.worker.tiny_pack import save_tiny_pack
from vcd_studio.catalog.packs import add_pack, find_pack
from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.conditioning import condition
from vcd_studio.method.finetuning import begin_training
from vcd_studio.method.finetuning.weights import NetworkWeights, twin, worn
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.method.tiled import tiled
from vcd_studio.models import load_pack
from vcd_studio.models.memory import CHANGED, Placement, denoising_bytes, in_turn, parts_of, place, plan, weights_of

GB = 10**9
SIZES = {"unet": 2600, "vae": 170, "text_encoder": 250, "controlnet": 720, "segmenter": 1300, "grounding": 900}
SIZES = {name: megabytes * 10**6 for name, megabytes in SIZES.items()}
CLIP = denoising_bytes(16, 64, 64, torch.float16)


def test_weights_are_counted_from_headers(tmp_path: Path) -> None:
    for name, shapes in (("base", layouts.sd15()), ("motion", layouts.animatediff("v2")), ("tile", layouts.controlnet())):
        write(tmp_path / f"{name}.ckpt", shapes)
    pack = add_pack(tmp_path / "packs", "mine", [tmp_path / f"{name}.ckpt" for name in ("base", "motion", "tile")])
    half, whole = weights_of(pack, torch.float16), weights_of(pack, torch.float32)
    assert {name: round(size / 1e6) for name, size in half.items()} == {"unet": 2628, "vae": 167, "text_encoder": 246, "controlnet": 723}
    assert all(whole[name] == 2 * size for name, size in half.items())


def test_folders_are_counted_as_they_are_loaded(tmp_path: Path) -> None:
    save_tiny_pack(tmp_path / "tiny")
    pack = find_pack(str(tmp_path / "tiny"))
    networks = load_pack(str(tmp_path / "tiny"))
    sizes = weights_of(pack, torch.float32)
    for name in ("text_encoder", "vae", "unet", "controlnet", "upscaler"):
        held = sum(tensor.nbytes for tensor in parts_of(networks)[name].parameters())
        assert abs(sizes[name] - held) < 0.01 * held + 1000, name  # motion's positions are buffers


@pytest.mark.parametrize(
    ("room", "aside", "said"),
    [
        (24, (), "5.9 GB of weights, 24.0 GB free: everything on the card"),
        (8, (("text_encoder",), ("grounding",), ("segmenter",)), "text_encoder, grounding, segmenter wait in memory until they are used"),
        (6.8, (("unet", "controlnet"), ("vae",), ("text_encoder",), ("grounding",), ("segmenter",)), "take turns on the card"),
    ],
)
def test_what_fits_where(room: float, aside: tuple[tuple[str, ...], ...], said: str) -> None:
    placed = plan(SIZES, int(room * GB), CLIP)
    assert placed.aside == aside
    assert said in placed.sentence


def test_a_card_that_is_too_small_is_one_sentence() -> None:
    assert "smaller size" in plan(SIZES, 4 * GB, CLIP).sentence
    with pytest.raises(MethodError, match=r"The card has 3\.0 GB free, and 3\.7 GB are needed: .*--device cpu"):
        plan(SIZES, 3 * GB, CLIP)


class Moves(list[tuple[str, str]]):
    """Who was moved where; nothing moves in truth, since there is no card."""

    def __call__(self, network: nn.Module, device: torch.device) -> None:
        self.append((type(network).__name__, device.type))


def test_networks_take_turns_and_the_clip_is_the_same() -> None:
    plain, networks = tiny_networks(controlnet=True), tiny_networks(controlnet=True)
    moves = Moves()
    groups = (("unet", "controlnet"), ("vae",), ("text_encoder",))
    place(networks, Placement(groups, ""), torch.device("cuda"), moves)
    assert moves == []

    def made(which: object) -> list[np.ndarray]:
        words = condition(which, "a dog running", "blurry")
        clip = text_to_video(which, words, Sampling(steps=2), frames=2)
        return [clip, tiled(which, clip, words, Sampling(steps=2), strength=0.5)[0]]

    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(made(networks), made(plain), strict=True))
    come = [name for name, device in moves if device == "cuda"]
    denoising = ["UNetMotionModel", "ControlNetModel", "UNet2DConditionModel"]
    assert come == ["CLIPTextModel", *denoising, "AutoencoderKL", *denoising, "AutoencoderKL"]
    there: set[str] = set()
    for name, device in moves:
        there = there | {name} if device == "cuda" else there - {name}
        assert len(there) == 1 or there <= set(denoising)


def test_a_twin_comes_with_its_networks_and_copies_none_of_them() -> None:
    networks = tiny_networks()
    moves = Moves()
    place(networks, Placement((("unet",), ("text_encoder",)), ""), torch.device("cuda"), moves)
    condition(networks, "a dog")
    other = twin(networks.motion_unet, {})
    other(torch.randn(1, 4, 2, 8, 8), 500, encoder_hidden_states=torch.randn(2, 24, 32))
    assert moves[-2:] == [("UNetMotionModel", "cuda"), ("UNet2DConditionModel", "cuda")]


def test_helpers_come_when_they_are_asked(tmp_path: Path) -> None:
    networks = load_pack(str(save_tiny_pack(tmp_path / "tiny")))
    moves = Moves()
    place(networks, Placement((("upscaler",),), ""), torch.device("cuda"), moves)
    assert networks.upscaler is not None
    assert networks.upscaler.scale == 2
    before = list(moves)
    assert "RRDBNet" not in {name for name, _ in before}
    assert networks.upscaler.upscale(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 16, 16)
    assert moves[len(before) :] == [("RRDBNet", "cuda")]


class Absence:
    """Moves without a card: of a network that is away, every number is NaN, and buffers are other ones, as with ``Module.to``."""

    def __init__(self) -> None:
        self._kept: dict[object, torch.Tensor] = {}

    def __call__(self, network: nn.Module, device: torch.device) -> None:
        for parameter in network.parameters():
            parameter.data.copy_(self._moved(parameter, parameter.data, device))
        for module in network.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_floating_point():
                    module._buffers[name] = self._moved((module, name), buffer, device).clone()

    def _moved(self, key: object, now: torch.Tensor, device: torch.device) -> torch.Tensor:
        if device.type == "cuda":
            return self._kept.pop(key, now)
        self._kept.setdefault(key, now.clone())
        return torch.full_like(now, torch.nan)


def sharing_a_card(folder: Path, staying: tuple[str, ...]) -> Networks:
    """A pack whose networks take turns, all away at first but for those that stay."""
    networks, move = load_pack(str(folder)), Absence()
    for name, network in parts_of(networks).items():
        if name not in staying:
            move(network, torch.device("cpu"))
    place(networks, Placement(in_turn(parts_of(networks), staying)), torch.device("cuda"), move)
    return networks


def test_weights_are_worn_while_others_take_turns(tmp_path: Path) -> None:
    save_tiny_pack(tmp_path / "tiny")
    clips = []
    for networks in (load_pack(str(tmp_path / "tiny")), sharing_a_card(tmp_path / "tiny", CHANGED)):
        name, base = next((name, tensor) for name, tensor in networks.unet.named_parameters() if ".to_q." in name)
        wearing = worn(networks, [NetworkWeights({name: torch.ones_like(base) / 10})])
        words = condition(wearing, "a dog running")
        clip = text_to_video(wearing, words, Sampling(steps=2), frames=2)
        clips.append(tiled(wearing, clip, words, Sampling(steps=2), strength=0.5)[0])
    assert np.array_equal(*clips)


@pytest.mark.parametrize("method", ["tokens", "lora", "dreambooth"])
def test_learning_goes_on_while_others_take_turns(method: str, tmp_path: Path) -> None:
    save_tiny_pack(tmp_path / "tiny")
    photo = TrainingPhoto(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)), None)
    reports = []
    for networks in (load_pack(str(tmp_path / "tiny")), sharing_a_card(tmp_path / "tiny", CHANGED)):
        how = {"steps": 2, "bank": 2, "batch": 1, "prior_pictures": 1}
        training = begin_training(method, networks, [photo], "dog", "<rex>", how)
        reports.append([training.step(), training.preview(steps=1).tolist(), training.step()])
    assert reports[0] == reports[1]
