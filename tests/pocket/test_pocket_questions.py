"""What can be asked of a pocket picture: true answers, what a caption says, and that text pretraining learns to read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vcd_studio.pocket.questions import MEASURES, QUESTIONS, answers, measures, measures_of, questions_of, said
from vcd_studio.pocket.train.banks import tokenise
from vcd_studio.pocket.train.text import Reader, train_text
from vcd_studio.pocket.train.tokenizer import build_tokenizer
from vcd_studio.pocket.world import caption, describe, sample_identity, sample_shot


@pytest.mark.parametrize("seed", range(40))
def test_what_a_caption_says_is_the_truth_about_its_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    shot = sample_shot(rng, identity)
    truth = {name: QUESTIONS[name][index] for name, index in zip(QUESTIONS, answers(identity, shot), strict=True)}
    told = said(caption(identity, shot, rng), identity, shot)
    assert told["kind"] == identity.kind
    assert told.items() <= truth.items()
    assert len(measures(identity)) == len(MEASURES)
    assert set(measures_of(identity)) <= set(MEASURES)
    assert set(questions_of(identity)) <= set(QUESTIONS)


def test_everything_named_is_said_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        identity = sample_identity(rng)
        shot = sample_shot(rng, identity)
        whole = said(describe(identity, rng, keep=1.0), identity, shot)
        assert len(whole) >= 1 + len(identity.names)
        assert said(describe(identity, rng, keep=0.0), identity, shot) == {"kind": identity.kind}
        assert "scene" not in whole


@pytest.mark.slow
def test_the_text_encoder_learns_to_tell_a_dog_from_a_cat(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer(tmp_path / "tokenizer")
    train_text(tmp_path, tokenizer, 150, 32, torch.device("cpu"))
    text = train_text(tmp_path, tokenizer, 150, 32, torch.device("cpu")).eval()  # finished: read back, nothing learnt
    reader = Reader(text)
    saved = torch.load(tmp_path / "text.pt", weights_only=True)
    reader.load_state_dict(saved["average"], strict=True)
    nouns = ("dog", "cat", "man", "woman")
    with torch.inference_mode():
        logits = reader(tokenise(tokenizer, [f"a {noun} walking in the snow" for noun in nouns]))[0].unflatten(0, (4, -1)).mean(1)
    assert [QUESTIONS["kind"][int(row.argmax())] for row in logits] == list(nouns)
