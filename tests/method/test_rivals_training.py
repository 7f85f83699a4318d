"""The paper's rivals as trainers: what learns, what does not, the resume, the prior."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import WIDTH, tiny_networks

from vcd_studio.method.augmentation import TrainingPhoto
from vcd_studio.method.conditioning import condition, encode
from vcd_studio.method.denoise import denoise
from vcd_studio.method.finetuning import OPTIONS, begin_training
from vcd_studio.method.finetuning.custom_diffusion import CustomDiffusionOptions, CustomDiffusionTraining
from vcd_studio.method.finetuning.dreambooth import DreamBoothOptions, DreamBoothTraining
from vcd_studio.method.finetuning.lora import LoraOptions, LoraTraining
from vcd_studio.method.finetuning.training import PRIOR_STEPS, WeightsTraining
from vcd_studio.method.finetuning.weights import LowRank, NetworkWeights, worn
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.method.id_training import TEXTUAL_INVERSION, IdTraining, TrainingOptions
from vcd_studio.method.photo_training import PhotoTraining
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.method.sampling import Sampling
from vcd_studio.method.text_to_video import text_to_video
from vcd_studio.models import load_pack
from vcd_studio.pocket.examples import REX, held_out, photos

METHODS = ("lora", "dreambooth", "custom-diffusion")
QUICK = {"steps": 4, "batch": 2, "bank": 4, "learning_rate": 1e-3, "prior_weight": 0.0}


def photo() -> TrainingPhoto:
    pixels = np.random.default_rng(1).integers(0, 80, (40, 48, 3), np.uint8)
    mask = np.zeros((40, 48), np.uint8)
    mask[8:28, 10:30] = 255
    pixels[8:28, 10:30] = (200, 120, 40)
    return TrainingPhoto(Image.fromarray(pixels), mask)


def begin(method: str, networks: Networks, tokens: IdTokens | None = None, **settings: Any) -> WeightsTraining:
    training = begin_training(method, networks, [photo()], "dog", "<rex>", {**QUICK, **settings}, tokens)
    assert isinstance(training, WeightsTraining)
    return training


def everything(networks: Networks) -> dict[str, torch.Tensor]:
    """Every number of the networks but the vocabulary, which tokens are put into."""
    parts = {"unet": networks.unet, "motion": networks.motion_unet, "vae": networks.vae, "text": networks.text_encoder}
    every = {f"{part}.{name}": tensor.clone() for part, network in parts.items() for name, tensor in network.state_dict().items()}
    return {name: tensor for name, tensor in every.items() if "token_embedding" not in name}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def picture(unet: Any, prompt: torch.Tensor) -> torch.Tensor:
    noisy = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        seen: torch.Tensor = unet(noisy, 400, encoder_hidden_states=prompt.clone()).sample
    return seen


@pytest.mark.parametrize("method", METHODS)
def test_a_training_learns_in_a_twin_and_what_is_worn_is_what_was_learnt(method: str, networks: Networks) -> None:
    before, prompt = everything(networks), encode("a dog", networks)
    plain = picture(networks.unet, prompt)
    training = begin(method, networks)
    assert torch.allclose(picture(training.unet, prompt), plain, atol=1e-6)  # every method starts from the base
    while not training.finished:
        report = training.step()
    assert report.step == 4
    assert training.preview(steps=1).shape == (32, 32, 3)
    tokens, weights = training.tokens(), training.weights(base="tiny")
    assert same(everything(networks), before)
    assert not any(parameter.requires_grad for parameter in networks.unet.parameters())
    assert torch.equal(picture(networks.unet, prompt), plain)
    learnt = picture(training.unet, prompt)
    assert (learnt - plain).abs().max() > 1e-3
    dressed = worn(networks, [weights])
    assert torch.allclose(picture(dressed.unet, prompt), learnt, atol=1e-4 * float(plain.abs().max()))
    assert (weights.metadata["method"], weights.metadata["steps"], weights.metadata["base"]) == (method, "4", "tiny")
    assert (tokens.token, tokens.noun, tuple(tokens.embeddings.shape)) == ("<rex>", "dog", (1, WIDTH))
    clip = text_to_video(dressed, condition(dressed, "a <rex> running", "", [tokens]), Sampling(steps=1, guidance=1.0), frames=3)
    still = text_to_video(networks, condition(networks, "a <rex> running", "", [tokens]), Sampling(steps=1, guidance=1.0), frames=3)
    assert not np.array_equal(clip, still)


def test_what_learns_is_what_the_papers_say(networks: Networks) -> None:
    learnt = {}
    for method in METHODS:
        training = begin(method, networks)
        rows = training.rows.detach().clone()
        training.step()
        changes = training.weights().changes
        learnt[method] = {name for name, change in changes.items() if (change.up if isinstance(change, LowRank) else change).any()}
        assert torch.equal(rows, training.rows) == (method != "custom-diffusion")
        assert learnt[method] <= set(dict(networks.unet.named_parameters()))
    kinds = {method: {name.split("transformer_blocks.0.")[-1] for name in names} for method, names in learnt.items()}
    projections = {"to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"}
    assert kinds["lora"] == {f"attn{i}.{side}" for i in (1, 2) for side in projections}
    assert kinds["custom-diffusion"] == {"attn2.to_k.weight", "attn2.to_v.weight"}
    assert len(learnt["dreambooth"]) > 0.95 * len(dict(networks.unet.named_parameters()))
    rank = begin("lora", networks, rank=3)
    assert {len(change.down) for change in rank.weights().changes.values() if isinstance(change, LowRank)} == {3}
    assert rank.weights().metadata["rank"] == "3"


@pytest.mark.parametrize(("method", "rate"), [("lora", 1e-2), ("dreambooth", 1e-3), ("custom-diffusion", 1e-2)])
def test_the_loss_falls_on_a_fixed_batch(method: str, rate: float, networks: Networks) -> None:
    training = begin(method, networks, learning_rate=rate)
    training.prepare()
    fixed = copy.deepcopy(training.generator.get_state())
    losses = []
    for _ in range(12):
        training.generator.set_state(fixed)
        losses.append(training.step().loss)
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_training_ends_with_the_same_weights(method: str, networks: Networks, tmp_path: Path) -> None:
    settings = {"prior_weight": 0.5, "prior_pictures": 2}
    unbroken = begin(method, networks, **settings)
    losses = [unbroken.step().loss for _ in range(4)]
    killed = begin(method, networks, **settings)
    for _ in range(2):
        killed.step()
    torch.save(killed.state_dict(), tmp_path / "state.pt")
    killed.step()
    resumed = begin(method, networks, **settings)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    resumed.preview(steps=1)  # looking does not disturb
    assert [resumed.step().loss for _ in range(2)] == losses[2:]
    one, two = unbroken.weights(), resumed.weights()
    assert one.metadata == two.metadata
    for name, change in one.changes.items():
        other = two.changes[name]
        pairs = [(change.down, other.down), (change.up, other.up)] if isinstance(change, LowRank) else [(change, other)]
        assert all(torch.equal(a, b) for a, b in pairs), name
    assert torch.equal(unbroken.tokens().embeddings, resumed.tokens().embeddings)
    for other in METHODS:
        if other != method:
            with pytest.raises(MethodError, match=f"another training than this {other}"):
                begin(other, networks).load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))


def test_a_training_that_fails_leaves_the_base_as_it_was() -> None:
    networks = tiny_networks(prediction_type="v_prediction")
    networks.scheduler.register_to_config(prediction_type="flow")
    before = everything(networks)
    for method in METHODS:
        training = begin(method, networks)
        with pytest.raises(MethodError, match='predicts "flow"'):
            training.step()
        assert same(everything(networks), before)
        assert set(dict(networks.unet.named_modules())) == set(dict(tiny_networks().unet.named_modules()))


def test_the_prior_is_what_the_base_draws_for_the_noun(networks: Networks) -> None:
    seen: list[tuple[int, int]] = []
    training = begin("dreambooth", networks, prior_weight=1.0, prior_pictures=5)
    training.prepare(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 9), (2, 9), (3, 9), (4, 9), (8, 9), (9, 9)]
    prior = training.state_dict()["prior"]
    assert prior.shape == (5, 4, 8, 8)
    assert len({tensor.numpy().tobytes() for tensor in prior}) == 5
    plan = Sampling(steps=PRIOR_STEPS).schedule(networks.scheduler.config)
    noise = torch.randn((4, 4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    from vcd_studio.method.denoise import FrameByFrame

    by_hand = denoise(FrameByFrame(networks.unet), noise, condition(networks, "a photo of a dog"), plan, 7.5)[:, :, 0]
    assert torch.equal(prior[:4], by_hand)
    training.prepare()
    assert torch.equal(training.state_dict()["prior"], prior)  # made once
    assert begin("lora", networks).state_dict()["prior"] is None
    with pytest.raises(MethodError, match="at least one"):
        begin("dreambooth", networks, prior_weight=1.0, prior_pictures=0).prepare()


def test_the_prior_holds_the_class_back(networks: Networks) -> None:
    """With a heavy prior, the base's own pictures of the noun are predicted better than without one."""
    errors = {}
    for weight in (0.0, 20.0):
        training = begin("dreambooth", networks, prior_weight=weight, prior_pictures=4, steps=15, learning_rate=2e-3)
        while not training.finished:
            training.step()
        judge = begin("dreambooth", networks, prior_weight=1.0, prior_pictures=4)
        judge.prepare()
        assert judge._prior is not None
        judge.unet = training.unet
        with torch.no_grad():
            errors[weight] = float(judge._error(judge._prior, torch.ones_like(judge._prior[:, :1]), ["a photo of a dog"] * 4))
    assert errors[20.0] < errors[0.0]


def test_the_rare_token_comes_from_the_seed_and_looks_like_the_vocabulary(networks: Networks) -> None:
    first = begin("lora", networks).tokens()
    vocabulary = networks.text_encoder.get_input_embeddings().weight[: networks.tokenizer.vocab_size].norm(dim=-1)
    assert 0.6 * vocabulary.mean() < first.norm < 1.4 * vocabulary.mean()
    IdTraining(networks, [photo()], "cat", "<tom>", TrainingOptions(tokens=3, init_noise=1.0))  # other identities come and go
    assert torch.equal(begin("dreambooth", networks).tokens().embeddings, first.embeddings)
    assert not torch.equal(begin("lora", networks, seed=1).tokens().embeddings, first.embeddings)
    assert first.metadata["method"] == "lora"


def test_a_lora_beside_trained_tokens_puts_them_into_its_prompts(networks: Networks) -> None:
    trained = IdTokens("<old>", "dog", torch.randn((3, WIDTH), generator=torch.Generator().manual_seed(1)), {"steps": "200"})
    beside, alone = begin("lora", networks, trained), begin("lora", networks)
    assert beside._encode(["a <rex>"]).shape == alone._encode(["a <rex>"]).shape
    back = beside.tokens()
    assert torch.allclose(beside._encode(["a photo of a <rex>"]), encode("a photo of a <rex>", networks, [back]), atol=1e-6)
    for _ in range(2):
        beside.step()
    back = beside.tokens()
    assert torch.equal(back.embeddings, trained.embeddings)
    assert (back.token, back.metadata) == ("<rex>", {"steps": "200"})
    with pytest.raises(MethodError, match="numbers wide"):
        begin("lora", networks, IdTokens("<old>", "dog", torch.zeros(1, 7)))


def test_rivals_see_the_whole_picture_unless_asked_to_mask(networks: Networks) -> None:
    for method, share in (("lora", 1.0), ("lora", 0.0)):
        training = begin(method, networks, unmasked_share=share)
        training.prepare()
        assert bool((training._draw()[1] == 1).all()) == (share == 1.0)
    assert {OPTIONS[method]().unmasked_share for method in METHODS} == {1.0}


def test_trainings_by_name_take_what_they_have(networks: Networks) -> None:
    settings = {"tokens": 2, "steps": 3, "rank": 8, "keep_norm": True, "prior_pictures": 7, "bank": 1, "checkpoint_every": 5}
    made = {name: begin_training(name, networks, [photo()], "dog", "<rex>", settings) for name in OPTIONS}
    assert isinstance(made["tokens"], IdTraining)
    assert made["tokens"].options == TrainingOptions(tokens=2, steps=3, keep_norm=True, bank=1)
    assert made["tokens"].weights() is None
    assert isinstance(made["lora"], LoraTraining)
    assert made["lora"].options == LoraOptions(tokens=2, steps=3, rank=8, prior_pictures=7, bank=1)
    assert isinstance(made["dreambooth"], DreamBoothTraining)
    assert made["dreambooth"].options == DreamBoothOptions(tokens=2, steps=3, prior_pictures=7, bank=1)
    assert isinstance(made["custom-diffusion"], CustomDiffusionTraining)
    assert made["custom-diffusion"].options == CustomDiffusionOptions(tokens=2, steps=3, prior_pictures=7, bank=1)
    with pytest.raises(MethodError, match='no training method "hypernetwork"; choose tokens, lora'):
        begin_training("hypernetwork", networks, [photo()], "dog", "<rex>")
    with pytest.raises(MethodError, match="leave them out"):
        begin_training("tokens", networks, [photo()], "dog", "<rex>", tokens=made["lora"].tokens())
    with pytest.raises(MethodError, match="rank of a LoRA must be at least 1, but is 0"):
        begin("lora", networks, rank=0)
    with pytest.raises(MethodError, match="no photo"):
        begin_training("lora", networks, [], "dog", "<rex>")
    networks.dtype = torch.float16
    with pytest.raises(MethodError, match=r"load it in torch\.float32"):
        begin("dreambooth", networks)


def test_textual_inversion_is_one_token_and_the_whole_picture(networks: Networks) -> None:
    training = IdTraining(networks, [photo()], "dog", "<rex>", TEXTUAL_INVERSION)
    training.prepare()
    assert (training._draw()[1] == 1).all()
    assert len(training.rows) == 1


@pytest.mark.slow
def test_twenty_steps_of_lora_bring_the_pocket_pack_nearer_to_the_identity(tmp_path: Path) -> None:
    """On fixed noise, photos it has not seen are predicted better, clips change, and the base's own output does not."""
    networks = load_pack("pocket")
    identity = held_out(REX, "dog")
    learned, unseen = ([TrainingPhoto(Image.fromarray(p.image), p.mask) for p in photos(identity, 6, seed=seed)] for seed in (0, 5))
    sampling = Sampling(steps=4, seed=2)
    base_clip = text_to_video(networks, condition(networks, "a dog running in the snow"), sampling, frames=4)
    base = everything(networks)
    settings = {"steps": 20, "batch": 8, "bank": 24, "rank": 8, "learning_rate": 2e-3, "seed": 1}
    training: PhotoTraining = begin_training("lora", networks, learned, "dog", "<rex>", settings)
    judge = begin_training("lora", networks, unseen, "dog", "<rex>", {"bank": 24, "batch": 24, "seed": 1, "unmasked_share": 0.0})
    judge.prepare()
    fixed = judge.generator.get_state()

    def loss() -> float:
        judge.generator.set_state(fixed)
        with torch.no_grad():
            return float(np.mean([float(judge._loss()) for _ in range(4)]))

    before = loss()
    while not training.finished:
        training.step()
    judge.unet = training.unet
    after = loss()
    print(f"loss on unseen photos {before:.4f} → {after:.4f}")
    assert after < before
    assert same(everything(networks), base)
    assert np.array_equal(text_to_video(networks, condition(networks, "a dog running in the snow"), sampling, frames=4), base_clip)
    weights = training.weights()
    assert weights is not None
    weights.save(tmp_path / "rex.safetensors")
    dressed = worn(networks, [NetworkWeights.load(tmp_path / "rex.safetensors")])
    changed = text_to_video(dressed, condition(dressed, "a <rex> dog running in the snow", "", [training.tokens()]), sampling, frames=4)
    assert not np.array_equal(changed, base_clip)
