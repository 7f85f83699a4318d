"""The pack that ships is whole, small, and does what its card says on identities that it was never trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vcd_studio.catalog.packs import NEEDED, POCKET
from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.conditioning import condition
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.method.id_training import IdTraining, TrainingOptions
from vcd_studio.method.protocols import Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.segmentation import segment
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.models import load_pack
from vcd_studio.pocket.examples import REX, held_out, photos
from vcd_studio.pocket.train.measure import measure

PARTS = (*NEEDED, "controlnet", "upscaler", "grounding", "segmenter", "faces")
SHARE = 0.8  # of the photos' subjects that the masks must cover (IoU)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_pack("pocket")


def test_the_pack_is_whole_and_small() -> None:
    assert all((POCKET / part).is_dir() for part in PARTS)
    assert sum(p.stat().st_size for p in POCKET.rglob("*") if p.is_file()) < 60e6


def test_the_seeing_parts_do_what_the_card_says() -> None:
    figures = measure(POCKET, count=60)
    assert figures["VAE PSNR (dB)"] > 29
    assert figures["grounding box IoU"] > 0.8
    assert figures["mask IoU from true boxes"] > 0.9
    assert figures["face recall at IoU 0.5, near"] > 0.95
    assert figures["upscaler gain over bicubic (dB)"] > 2


def test_a_held_out_dog_is_found_and_cut_out_of_its_photos(networks: Networks) -> None:
    overlaps = []
    for picture in photos(held_out(REX, "dog")):
        assert networks.grounding
        assert networks.segmenter
        found = segment(Image.fromarray(picture.image), "dog", networks.grounding, networks.segmenter)
        mask, truth = found.mask > 127, picture.mask > 127
        overlaps.append((mask & truth).sum() / (mask | truth).sum())
    assert np.mean(overlaps) > SHARE


@pytest.mark.slow
def test_words_change_the_scene(networks: Networks) -> None:
    """The top of a picture is dark in the city at night, green in the forest, and light in the snow."""
    tops = {}
    for scene in ("in the snow", "in the city at night", "in the forest"):
        text = condition(networks, f"a dog walking {scene}")
        frames = [text_to_video(networks, text, Sampling(steps=10, seed=seed), frames=2) for seed in range(3)]
        tops[scene] = np.mean([f[:, :12].mean((0, 1, 2)) for f in frames], axis=0)
    assert tops["in the city at night"].mean() < 100 < tops["in the snow"].mean()
    red, green, blue = tops["in the forest"]
    assert green > max(red, blue)


@pytest.mark.slow
def test_clips_move(networks: Networks) -> None:
    clip = text_to_video(networks, condition(networks, "a woman running in the desert"), Sampling(steps=12, seed=2)).astype(float)
    change = np.abs(np.diff(clip, axis=0)).mean()
    other = text_to_video(networks, condition(networks, "a woman running in the desert"), Sampling(steps=12, seed=3)).astype(float)
    assert 0.5 < change < np.abs(clip - other).mean(), "frames differ, but less than two clips do"


@pytest.mark.slow
def test_training_brings_the_tokens_nearer_to_the_identity(networks: Networks) -> None:
    """On fixed noise, the trained tokens predict held-out photos of the identity better than the noun in their place."""
    identity = held_out(REX, "dog")
    learned = [TrainingPhoto(Image.fromarray(p.image), p.mask) for p in photos(identity, 6, seed=0)]
    training = IdTraining(networks, learned, "dog", "<rex>", TrainingOptions(seed=1))
    while not training.finished:
        training.step()
    unseen = [TrainingPhoto(Image.fromarray(p.image), p.mask) for p in photos(identity, 6, seed=5)]
    noun = networks.text_encoder.get_input_embeddings().weight[networks.tokenizer("dog").input_ids[1]].detach()
    count = training.options.tokens  # as many tokens in both, or the judges would draw other noise
    plain = IdTokens("<noun>", "dog", noun.repeat(count, 1))

    def loss_of(tokens: IdTokens) -> float:
        judge = IdTraining(networks, unseen, "dog", tokens.token, TrainingOptions(tokens=count, batch=24, seed=9, learning_rate=0.0))
        with torch.no_grad():
            judge.rows.copy_(tokens.embeddings)
        return float(np.mean([judge.step().loss for _ in range(4)]))

    assert loss_of(training.tokens()) < loss_of(plain)
