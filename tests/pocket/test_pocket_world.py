"""The pocket world tells the truth about its pictures, and keeps its held-out identities out of training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcd_studio.pocket.train.data import sample
from vcd_studio.pocket.world import (
    ACTIONS,
    KINDS,
    SCENES,
    caption,
    is_held_out,
    render,
    render_clip,
    sample_held_out_identity,
    sample_identity,
    sample_shot,
    vocabulary,
)

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=40)
def test_the_same_parameters_draw_the_same_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    shot = sample_shot(rng, identity)
    first, second = render(identity, shot, 0.5), render(identity, shot, 0.5)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)
    assert first.box == second.box


@given(seeds)
@settings(max_examples=60)
def test_mask_box_and_face_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    picture = render(identity, sample_shot(rng, identity, "medium"), 1.0)
    assert picture.box is not None, "a medium shot always shows its subject in the middle of the clip"
    left, top, right, bottom = (int(v) for v in picture.box)
    inside = picture.mask[top:bottom, left:right] > 127
    assert inside.any(0).all()
    assert (picture.mask > 127).sum() == inside.sum()
    if picture.face is not None:
        x, y = (picture.face[0] + picture.face[2]) / 2, (picture.face[1] + picture.face[3]) / 2
        assert picture.mask[min(63, int(y)), min(63, int(x))] > 127, "the middle of the face belongs to the subject"


@given(seeds)
@settings(max_examples=200)
def test_every_caption_is_made_of_the_vocabulary(seed: int) -> None:
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    words = caption(identity, sample_shot(rng, identity), rng).replace(",", "").split()
    assert set(words) <= set(vocabulary())


def test_held_out_identities_are_never_drawn_for_training() -> None:
    rng = np.random.default_rng(5)
    assert not any(is_held_out(sample(rng)[0]) for _ in range(300))
    assert all(is_held_out(sample_held_out_identity(rng, kind)) for kind in KINDS for _ in range(5))


def test_clips_move_and_scenes_differ() -> None:
    rng = np.random.default_rng(7)
    for kind in KINDS:
        identity = sample_identity(rng, kind)
        for action in ACTIONS[kind]:
            shot = sample_shot(rng, identity, "medium")
            clip = np.stack([p.mask for p in render_clip(identity, shot.__class__(shot.scene, action, "medium"))]).astype(int)
            assert np.abs(np.diff(clip, axis=0)).mean() > 0.3, f"a {kind} {action} stands still"
    shot = sample_shot(rng, identity, "medium")
    means = {scene: render(identity, shot.__class__(scene, "walking", "medium")).image[:8].mean((0, 1)).round() for scene in SCENES}
    assert len({tuple(mean) for mean in means.values()}) == len(SCENES)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_a_picture_of_any_size_shows_the_same_scene(size: int) -> None:
    rng = np.random.default_rng(3)
    identity = sample_identity(rng, "dog")
    shot = sample_shot(rng, identity, "medium")
    picture, reference = render(identity, shot, 0.0, size), render(identity, shot, 0.0, 64)
    assert picture.image.shape == (size, size, 3)
    assert picture.box is not None
    assert reference.box is not None
    assert np.allclose(np.array(picture.box) / size, np.array(reference.box) / 64, atol=0.04)
