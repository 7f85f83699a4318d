"""What the metrics must say whatever the clip, and what they say of clips made to be known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tests.evaluation.test_encoders import tiny_clip, tiny_dino
from vcd_studio.evaluation.cache import measure_once
from vcd_studio.evaluation.encoders import Picture
from vcd_studio.evaluation.metrics import (
    Encoders,
    Seams,
    mean_cosine,
    mean_flow,
    measure_clip,
    motion,
    optical_flow,
    plain_prompt,
    seam,
    temporal_consistency,
)
from vcd_studio.method.id_tokens import IdTokens, expand
from vcd_studio.method.protocols import Frames, MethodError
from vcd_studio.pocket.world import render_clip, sample_identity, sample_shot
from vcd_studio.project.errors import InputError

NUMBERS = st.floats(-10, 10, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)
ROWS = arrays(np.float32, st.tuples(st.integers(2, 6), st.just(4)), elements=NUMBERS)
CLIPS = arrays(np.uint8, st.tuples(st.integers(2, 5), st.integers(1, 12), st.integers(1, 12), st.just(3)))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    return Encoders.load(tiny_clip(tmp_path_factory.mktemp("clip")), tiny_dino(tmp_path_factory.mktemp("dino")))


def pocket_clip(seed: int = 0, frames: int = 6) -> Frames:
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    return np.stack([p.image for p in render_clip(identity, sample_shot(rng, identity, "medium"), frames)])


PHOTOS: list[Picture] = [pocket_clip(7, 1)[0], pocket_clip(8, 1)[0][:40], pocket_clip(9, 1)[0]]


# -- cosines -----------------------------------------------------------------------------------------------------------


@given(ROWS, ROWS)
def test_cosines_stay_in_their_range(frames: NDArray[np.float32], others: NDArray[np.float32]) -> None:
    assert -1 <= mean_cosine(frames, others) <= 1
    assert -1 <= temporal_consistency(frames) <= 1
    assert mean_cosine(frames, others) == pytest.approx(mean_cosine(others, frames), abs=1e-9)


@given(ROWS, ROWS, st.data())
def test_neither_the_order_of_the_references_nor_that_of_the_frames_is_identity(
    frames: NDArray[np.float32], references: NDArray[np.float32], data: st.DataObject
) -> None:
    shuffled = references[data.draw(st.permutations(range(len(references))))]
    permuted = frames[data.draw(st.permutations(range(len(frames))))]
    assert mean_cosine(permuted, shuffled) == pytest.approx(mean_cosine(frames, references), abs=1e-9)


@given(st.permutations(range(7)))
def test_a_permuted_clip_is_less_consistent(order: list[int]) -> None:
    """Frames that turn by the same small angle: every other order than there and back has a larger jump in it."""
    angles = 0.2 * np.arange(7)
    turning = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    permuted = temporal_consistency(turning[order])
    assert temporal_consistency(turning) == pytest.approx(np.cos(0.2), abs=1e-6)
    if order in (sorted(order), sorted(order, reverse=True)):
        assert permuted == pytest.approx(np.cos(0.2), abs=1e-6)
    else:
        assert permuted < np.cos(0.2) - 1e-3


def test_known_cosines() -> None:
    east, north, west = np.array([[1, 0]]), np.array([[0, 2]]), np.array([[-3, 0]])
    assert mean_cosine(np.float32(east), np.float32(np.concatenate([east, north, west]))) == pytest.approx(0)
    assert temporal_consistency(np.float32(np.concatenate([east, west, east]))) == -1


# -- motion and flow ---------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(CLIPS)
def test_motion_is_a_share_and_a_still_clip_has_none(clip: Frames) -> None:
    assert 0 <= motion(clip) <= 1
    assert mean_flow(clip) >= 0
    still = np.repeat(clip[:1], 4, axis=0)
    assert motion(still) == 0
    assert mean_flow(still) == pytest.approx(0, abs=1e-5)


def test_known_motion() -> None:
    clip = np.zeros((3, 4, 4, 3), np.uint8)
    clip[1] = 255
    assert motion(clip) == 1
    clip[1, :, :2] = 0
    assert motion(clip) == 0.5


def texture(side: int) -> Picture:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2.5)), np.float64)
    return ((soft - soft.min()) / (soft.max() - soft.min()) * 255).astype(np.uint8)


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, -2), (3, 3), (-8, 2)])
def test_the_flow_of_a_picture_that_moves(right: int, down: int) -> None:
    wide = texture(120)
    first, second = wide[30:94, 30:94], wide[30 - down : 94 - down, 30 - right : 94 - right]
    x = torch.from_numpy(np.stack([first, second])).permute(0, 3, 1, 2).float() / 255
    inside = optical_flow(x[:1], x[1:])[0, :, 12:-12, 12:-12].mean((1, 2))
    assert inside.tolist() == pytest.approx([right, down], abs=0.15)


def test_flow_is_told_in_widths_of_the_picture_and_not_by_brightness() -> None:
    wide = texture(400)
    moving = np.stack([wide[100:300, 100 - 5 * k : 300 - 5 * k] for k in range(4)])
    halved = np.stack([np.asarray(Image.fromarray(frame).resize((100, 100), Image.Resampling.BOX)) for frame in moving])
    assert mean_flow(moving) == pytest.approx(5 / 200, rel=0.2)
    assert mean_flow(halved) == pytest.approx(mean_flow(moving), rel=0.1)
    flickering = np.stack([(moving[0] * gain).astype(np.uint8) for gain in (1.0, 0.9, 1.0, 0.9)])
    assert motion(flickering) > 0.5 * motion(moving)
    assert mean_flow(flickering) < 0.02 * mean_flow(moving)


def test_a_long_clip_is_measured_in_parts() -> None:
    clip = pocket_clip(3, 20)
    pairs = [mean_flow(clip[k : k + 2]) for k in range(19)]
    assert mean_flow(clip) == pytest.approx(np.mean(pairs), rel=1e-4)


# -- seams -------------------------------------------------------------------------------------------------------------


def test_a_seam_shows_and_the_subjects_own_edge_does_not() -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None, None], (2, 64, 64, 3)).copy()
    where = Seams([32], [], 4)
    assert seam(ramp, where) == pytest.approx(1, abs=1e-3)
    stepped = ramp.copy()
    stepped[:, 32:] += 20
    assert seam(stepped, where) > 5
    assert seam(stepped, Seams([32], [], 4, upscaled=stepped)) == 1
    assert seam(stepped, Seams([16], [], 4)) == pytest.approx(1, abs=1e-3)


# -- prompts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("a <rex> running", "a dog running"),
        ("a <rex> dog running", "a dog running"),
        ("a <rex> Dog running", "a Dog running"),
        ("<rex> on the beach", "dog on the beach"),
        ("<rex> dog", "dog"),
        ("a <rex> big brown dog in the snow", "a big brown dog in the snow"),
        ("a dog <rex> running", "a dog running"),
        ("a dog <rex> dog running", "a dog running"),
        ("a photo of <rex>, far away", "a photo of dog, far away"),
        ("a <rex> <rex>_1 <rex>_2 <rex>_3 dog running", "a dog running"),
        ("a <rex> and a <mia> in a city", "a dog and a stuffed animal in a city"),
        ("a <mia> stuffed animal and a <rex>", "a stuffed animal and a dog"),
        ("a cat in the snow", "a cat in the snow"),
    ],
)
def test_the_noun_takes_the_tokens_place_once(written: str, plain: str) -> None:
    assert plain_prompt(written, {"<rex>": "dog", "<mia>": "stuffed animal"}) == plain


@example(["<mia>", "<rex>", "cat"], 1)
@example(["<mia>", "<rex>", "dog", "cat"], 1)
@example(["<rex>", "<mia>", "dog", "cat"], 1)
@given(st.lists(st.sampled_from(["a", "<rex>", "dog", "cat", "big", "running", "on", "the", "<mia>"]), max_size=8), st.integers(1, 4))
def test_an_expanded_prompt_says_the_same(words: list[str], count: int) -> None:
    prompt, nouns = " ".join(words), {"<rex>": "dog", "<mia>": "cat"}
    tokens = [IdTokens(token, noun, torch.zeros(count, 4)) for token, noun in nouns.items()]
    plain = plain_prompt(prompt, nouns)
    assert "<" not in plain
    if "dog dog" not in prompt:
        assert "dog dog" not in plain
    if "dog <rex>" not in prompt and "<rex> <rex>" not in prompt and "cat <mia>" not in prompt and "<mia> <mia>" not in prompt:
        assert plain_prompt(expand(prompt, tokens), nouns) == plain


def test_a_token_without_a_noun_is_told() -> None:
    with pytest.raises(MethodError, match="<tom>"):
        plain_prompt("a <tom> and a <rex>", {"<rex>": "dog"})


# -- a whole clip ------------------------------------------------------------------------------------------------------


def test_a_still_clip_is_consistent_and_does_not_move(encoders: Encoders) -> None:
    found = measure_clip(np.repeat(pocket_clip()[:1], 5, axis=0), PHOTOS, "a <rex> running", encoders, nouns={"<rex>": "dog"})
    assert (found.clip_temporal, found.dino_temporal) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=1e-6))
    assert found.motion == 0
    assert found.flow == pytest.approx(0, abs=1e-6)
    assert found.seam is None


def test_a_clip_of_the_photo_is_the_photos(encoders: Encoders) -> None:
    clip = np.stack([PHOTOS[0], PHOTOS[0]])
    found = measure_clip(clip, PHOTOS[:1], "a dog", encoders)
    assert (found.clip_i, found.dino) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=1e-6))
    assert found.clip_t == pytest.approx(float(encoders.clip.images(PHOTOS[:1])[0] @ encoders.clip.texts(["a dog"])[0]), abs=1e-6)


def test_a_permuted_clip_is_as_alike_and_otherwise_consistent(encoders: Encoders) -> None:
    clip = pocket_clip()
    whole = measure_clip(clip, PHOTOS, "a dog", encoders, seams=Seams([32], [32], 4))
    mixed = measure_clip(clip[[0, 3, 1, 5, 2, 4]], PHOTOS[::-1], "a dog", encoders, seams=Seams([32], [32], 4))
    for name in ("clip_i", "dino", "clip_t", "seam"):
        assert getattr(mixed, name) == pytest.approx(getattr(whole, name), abs=1e-6), name
    for name in ("clip_temporal", "dino_temporal", "motion", "flow"):
        assert abs(getattr(mixed, name) - getattr(whole, name)) > 1e-5, name
    assert mixed.motion > whole.motion


def test_clips_that_cannot_be_measured(encoders: Encoders) -> None:
    with pytest.raises(MethodError, match="A clip of 1 frames"):
        measure_clip(pocket_clip(0, 1), PHOTOS, "a dog", encoders)
    with pytest.raises(MethodError, match="no picture"):
        measure_clip(pocket_clip(), [], "a dog", encoders)
    with pytest.raises(MethodError, match="0 references"):
        mean_cosine(np.ones((2, 3), np.float32), np.ones((0, 3), np.float32))


# -- the cache ---------------------------------------------------------------------------------------------------------


class Calls:
    """How many pictures the encoders really looked at."""

    def __init__(self, encoders: Encoders) -> None:
        self.seen = 0
        for network in (encoders.clip.network.vision_model, encoders.dino.network):
            network.register_forward_hook(self.count)

    def count(self, *_: object) -> None:
        self.seen += 1

    def since(self) -> int:
        seen, self.seen = self.seen, 0
        return seen


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Encoders, Calls]:
    encoders = Encoders.load(tiny_clip(tmp_path / "clip"), tiny_dino(tmp_path / "dino"))
    return encoders, Calls(encoders)


def test_what_was_measured_is_not_measured_again(fresh: tuple[Encoders, Calls], tmp_path: Path) -> None:
    encoders, calls = fresh
    cache, clip = tmp_path / "metrics.json", pocket_clip()
    first = measure_once(cache, clip, PHOTOS, "a <rex>", encoders, nouns={"<rex>": "dog"})
    assert calls.since() > 0
    assert first == measure_clip(clip, PHOTOS, "a dog", encoders)
    calls.since()
    assert measure_once(cache, clip.copy(), PHOTOS[::-1], "a dog", encoders) == first
    assert calls.since() == 0
    assert json.loads(cache.read_text()).popitem()[1] == asdict(first)


def test_whatever_has_changed_is_measured_again(fresh: tuple[Encoders, Calls], tmp_path: Path) -> None:
    encoders, calls = fresh
    cache, clip = tmp_path / "metrics.json", pocket_clip()
    first = measure_once(cache, clip, PHOTOS, "a dog", encoders)
    touched = clip.copy()
    touched[0, 0, 0, 0] ^= 1
    other = Encoders.load(tiny_clip(tmp_path / "other", seed=5), tmp_path / "dino")
    for arguments in (
        (touched, PHOTOS, "a dog", encoders),
        (clip, PHOTOS[:2], "a dog", encoders),
        (clip, PHOTOS, "a cat", encoders),
        (clip.transpose(0, 2, 1, 3), PHOTOS, "a dog", encoders),
    ):
        calls.since()
        assert measure_once(cache, *arguments) == measure_clip(*arguments)
        assert calls.since() == 8  # the clip and its photos by both, and the same again for measure_clip
    assert measure_once(cache, clip, PHOTOS, "a dog", other).clip_i != first.clip_i
    assert measure_once(cache, clip, PHOTOS, "a dog", encoders, seams=Seams([32], [], 4)).seam is not None
    calls.since()
    assert measure_once(cache, clip, PHOTOS, "a dog", encoders) == first
    assert calls.since() == 0, "one entry does not push out another"


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"\xff\x00", b'{"k": 3}', b'{"KEY": {}}', b'{"KEY": {"clip_i": NaN}}', b"[" * 5000],
)
def test_a_damaged_cache_is_an_empty_one(fresh: tuple[Encoders, Calls], tmp_path: Path, damage: bytes) -> None:
    encoders, calls = fresh
    cache, clip = tmp_path / "metrics.json", pocket_clip(frames=2)
    first = measure_once(cache, clip, PHOTOS[:1], "a dog", encoders)
    key = next(iter(json.loads(cache.read_text())))
    cache.write_bytes(damage.replace(b"KEY", key.encode()))
    calls.since()
    assert measure_once(cache, clip, PHOTOS[:1], "a dog", encoders) == first
    assert calls.since() > 0
    assert measure_once(cache, clip, PHOTOS[:1], "a dog", encoders) == first
    assert calls.since() == 0


@settings(max_examples=10)
@given(data=st.data())
def test_a_cache_cut_off_anywhere_says_the_same(encoders: Encoders, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    cache, clip = tmp_path_factory.mktemp("cache") / "metrics.json", pocket_clip(frames=2)
    first = measure_once(cache, clip, PHOTOS[:1], "a dog", encoders)
    whole = cache.read_bytes()
    cache.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert measure_once(cache, clip, PHOTOS[:1], "a dog", encoders) == first


def test_a_cache_that_cannot_be_written_is_told(encoders: Encoders, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        measure_once(tmp_path / "missing" / "metrics.json", pocket_clip(frames=2), PHOTOS[:1], "a dog", encoders)
