"""Extended textual inversion: the loss, the rows, the resume."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import WIDTH, WORDS, tiny_networks

from vcd_studio.method import photo_training
from vcd_studio.method.augmentation import CAPTIONS, SHARES, TrainingPhoto, augment, frame_subject, is_close_up, view
from vcd_studio.method.conditioning import encode, token_ids
from vcd_studio.method.id_tokens import IdTokens, install
from vcd_studio.method.id_training import IdTraining, TrainingOptions, masked_loss
from vcd_studio.method.protocols import MethodError, Networks
from vcd_studio.method.tape import Tape

OPTIONS = TrainingOptions(tokens=2, steps=6, batch=2, bank=6, learning_rate=1e-2)


def photo(size: tuple[int, int] = (48, 40), subject: tuple[int, int, int, int] = (10, 8, 30, 28)) -> TrainingPhoto:
    pixels = np.random.default_rng(1).integers(0, 80, (size[1], size[0], 3), np.uint8)
    mask = np.zeros((size[1], size[0]), np.uint8)
    left, top, right, bottom = subject
    mask[top:bottom, left:right] = 255
    pixels[top:bottom, left:right] = (200, 120, 40)
    return TrainingPhoto(Image.fromarray(pixels), mask)


def test_the_masked_loss_is_that_of_the_paper_and_blind_outside() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.randn((3, 4, 8, 8), generator=generator) for _ in range(2))
    predicted.requires_grad_()
    mask = torch.zeros(3, 1, 8, 8)
    mask[:, :, 2:5, 3:6] = 1
    mask[1, :, 2] = 0.25
    loss = masked_loss(predicted, target, mask)
    by_hand = [(m * (p - t) ** 2).sum() / (m.sum() * 4) for p, t, m in zip(predicted, target, mask, strict=True)]
    assert torch.allclose(loss, torch.stack(by_hand).mean())
    loss.backward()
    outside = (mask == 0).expand_as(predicted)
    assert (predicted.grad[outside] == 0).all()
    assert (predicted.grad[~outside] != 0).all()
    full = masked_loss(predicted, target, torch.ones(3, 1, 8, 8))
    assert torch.allclose(full, torch.nn.functional.mse_loss(predicted, target))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_training_lowers_the_loss_on_a_fixed_batch(prediction_type: str) -> None:
    networks = tiny_networks(prediction_type=prediction_type)
    training = IdTraining(networks, [photo()], "dog", "<rex>", TrainingOptions(tokens=2, steps=40, batch=4, bank=4, learning_rate=2e-2))
    training.prepare()
    fixed = copy.deepcopy(training.generator.get_state())
    losses = []
    for _ in range(30):
        training.generator.set_state(fixed)
        losses.append(training.step().loss)
    assert losses[-1] < losses[0]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_a_cpu_plays_its_steps_from_a_tape_and_learns_the_same(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    def learnt() -> IdTraining:
        training = IdTraining(networks, [photo()], "dog", "<rex>", OPTIONS)
        while not training.finished:
            training.step()
        return training

    played = learnt()
    assert isinstance(played._played, Tape)
    monkeypatch.setattr("vcd_studio.method.id_training.recorded", lambda work, *sample: work)
    torch.testing.assert_close(played.rows, learnt().rows, rtol=1e-3, atol=1e-4)


def test_only_the_id_rows_change_and_no_network_learns(networks: Networks) -> None:
    table = networks.text_encoder.get_input_embeddings().weight.clone()
    weights = {k: v.clone() for k, v in networks.unet.state_dict().items()}
    training = IdTraining(networks, [photo()], "dog", "<rex>", OPTIONS)
    start = training.tokens().embeddings
    while not training.finished:
        report = training.step()
    tokens = training.tokens(photos="abc")
    now = networks.text_encoder.get_input_embeddings().weight
    assert torch.equal(now[: len(table)], table)
    assert torch.equal(now[training.ids], tokens.embeddings)
    assert not torch.equal(tokens.embeddings, start)
    (dog,) = networks.tokenizer("dog", add_special_tokens=False).input_ids
    assert torch.cosine_similarity(start, table[dog][None]).min() > 0.4  # the rows started at the noun, each with noise of its own
    assert not torch.equal(start[0], start[1])
    assert all(torch.equal(v, weights[k]) for k, v in networks.unet.state_dict().items())
    assert report.step == 6
    assert report.token_norm == pytest.approx(tokens.norm)
    assert tokens.metadata["steps"] == "6"
    assert tokens.metadata["photos"] == "abc"
    assert not any(p.requires_grad for p in networks.text_encoder.parameters())


def test_rows_in_place_read_like_rows_installed(networks: Networks) -> None:
    training = IdTraining(networks, [photo()], "dog", "<rex>", OPTIONS)
    training.step()
    in_training = training._encode(["a photo of a <rex>"])
    assert torch.allclose(encode("a photo of a <rex>", networks, [training.tokens()]), in_training, atol=1e-6)


def test_a_resumed_training_ends_with_the_same_tokens(tmp_path_factory: pytest.TempPathFactory) -> None:
    unbroken = IdTraining(tiny_networks(), [photo()], "dog", "<rex>", OPTIONS)
    losses = [unbroken.step().loss for _ in range(6)]
    killed = IdTraining(tiny_networks(), [photo()], "dog", "<rex>", OPTIONS)
    for _ in range(2):
        killed.step()
    path = tmp_path_factory.mktemp("checkpoint") / "state.pt"
    torch.save(killed.state_dict(), path)
    killed.step()
    resumed = IdTraining(tiny_networks(), [photo()], "dog", "<rex>", OPTIONS)
    resumed.load_state_dict(torch.load(path, weights_only=True))
    assert resumed.steps_done == 2
    resumed.preview(steps=1)  # looking does not disturb, nor does measuring
    resumed.steady_loss()
    rest = [resumed.step().loss for _ in range(4)]
    assert rest == losses[2:]
    assert torch.equal(resumed.tokens().embeddings, unbroken.tokens().embeddings)
    other = IdTraining(tiny_networks(), [photo()], "dog", "<rex>", TrainingOptions(tokens=3))
    with pytest.raises(MethodError, match="2 tokens"):
        other.load_state_dict(torch.load(path, weights_only=True))


def test_the_steady_loss_knows_no_chance() -> None:
    photos = [photo(), photo((40, 48), (4, 10, 24, 40)), photo((44, 44), (20, 2, 40, 22))]

    def begun(**options: object) -> IdTraining:
        return IdTraining(tiny_networks(), photos, "dog", "<rex>", replace(OPTIONS, init_noise=0.0, **options))  # type: ignore[arg-type]

    plain = begun()
    first = plain.steady_loss()
    assert plain.steady_loss() == first
    for other in (begun(seed=7), begun(batch=3), begun(augmented=True), begun(unmasked_share=1.0), begun(bank=20)):
        assert other.steady_loss() == pytest.approx(first, rel=1e-5)
    plain.step()
    assert plain.steady_loss() != first


def test_the_steady_loss_is_the_masked_loss_of_every_photo_in_the_same_noise(networks: Networks) -> None:
    photos = [photo(), photo((40, 48), (4, 10, 24, 40))]
    training = IdTraining(networks, photos, "dog", "<rex>", OPTIONS)
    always = torch.Generator().manual_seed(0)
    shape = (4, networks.latent_channels, networks.size // networks.vae_scale, networks.size // networks.vae_scale)
    noises = [torch.randn(shape, generator=always) for _ in photos]
    by_hand = []
    with torch.no_grad():
        for each, noise in zip(photos, noises, strict=True):
            alone = IdTraining(tiny_networks(), [each], "dog", "<rex>", OPTIONS)
            seen = alone._encoded(each, augmented=False)
            latents = seen.mean * networks.vae.config["scaling_factor"]
            for t, fresh in zip((125, 375, 625, 875), noise, strict=True):
                noisy = alone.noise.add_noise(latents, fresh[None], torch.tensor([t]))
                predicted = alone._predicted(alone.rows, noisy, torch.tensor([t]), alone._ids([CAPTIONS[seen.kind][0].format("<rex>")]))
                by_hand.append(float(masked_loss(predicted, fresh[None], seen.mask)))
    assert training.steady_loss() == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_learning_lowers_the_steady_loss() -> None:
    options = TrainingOptions(tokens=2, steps=30, batch=4, bank=4, learning_rate=2e-2)
    training = IdTraining(tiny_networks(), [photo()], "dog", "<rex>", options)
    before = training.steady_loss()
    while not training.finished:
        training.step()
    assert training.steady_loss() < before


def test_among_networks_in_sixteen_bits_rows_learn_in_fp32(networks: Networks) -> None:
    exact = IdTraining(networks, [photo()], "dog", "<rex>", OPTIONS)
    begun = exact.rows.detach().clone()
    losses = [exact.step().loss for _ in range(OPTIONS.steps)]
    coarse = tiny_networks()
    for network in (coarse.unet, coarse.vae, coarse.text_encoder):
        network.to(torch.bfloat16)
    coarse.dtype = torch.bfloat16
    training = IdTraining(coarse, [photo()], "dog", "<rex>", OPTIONS)
    assert [training.step().loss for _ in range(OPTIONS.steps)] == pytest.approx(losses, rel=0.05)
    assert training.rows.dtype == training.state_dict()["latents"].dtype == torch.float32
    ours, wanted = (rows.detach() - begun for rows in (training.rows, exact.rows))
    assert torch.nn.functional.cosine_similarity(ours.flatten(), wanted.flatten(), dim=0) > 0.9
    assert training.tokens().embeddings.dtype == torch.float32


def test_options_keep_norm_and_unmasked_share(networks: Networks) -> None:
    training = IdTraining(networks, [photo()], "dog", "<rex>", TrainingOptions(tokens=2, steps=2, batch=2, bank=2, keep_norm=True))
    vocabulary = networks.text_encoder.get_input_embeddings().weight[:-2].norm(dim=-1).mean()
    assert training.step().token_norm == pytest.approx(float(vocabulary), rel=1e-5)
    whole = IdTraining(tiny_networks(), [photo()], "dog", "<rex>", TrainingOptions(batch=3, bank=3, unmasked_share=1.0))
    whole.prepare()
    assert (whole._draw()[1] == 1).all()


def test_a_kept_norm_is_the_vocabularys_whoever_was_learnt_before(networks: Networks) -> None:
    options = TrainingOptions(tokens=2, steps=2, batch=2, bank=2, keep_norm=True)
    alone = IdTraining(tiny_networks(), [photo()], "dog", "<rex>", options).step().token_norm
    install(IdTokens("<tom>", "cat", torch.full((3, WIDTH), 50.0)), networks.tokenizer, networks.text_encoder)
    after = IdTraining(networks, [photo()], "dog", "<rex>", options).step().token_norm
    assert after == pytest.approx(alone, rel=1e-5)


def test_one_photo_is_enough_none_is_not_and_a_mask_may_be_missing(networks: Networks) -> None:
    with pytest.raises(MethodError, match="photo"):
        IdTraining(networks, [], "dog", "<rex>")
    seen: list[tuple[int, int]] = []
    training = IdTraining(networks, [TrainingPhoto(photo().image)], "dog", "<rex>", OPTIONS)
    training.prepare(lambda done, of: seen.append((done, of)))
    assert seen[-1] == (6, 6)
    assert np.isfinite(training.step().loss)
    assert training.preview(steps=2).shape == (32, 32, 3)


def test_views_of_a_photo_move_picture_and_mask_together() -> None:
    for options in ({}, {"flip": True}, {"angle": 10.0}, {"zoom": 2.5}, {"zoom": 0.6}, {"flip": True, "angle": -9.0, "zoom": 1.5}):
        seen = view(photo((400, 300), (100, 80, 260, 240)), 64, **options)
        picture, mask = np.asarray(seen.picture).astype(int), np.asarray(seen.mask)
        orange = np.abs(picture - (200, 120, 40)).max(-1) < 40
        assert seen.picture.size == (64, 64)
        assert mask.max() == 255
        assert (orange == (mask > 127)).mean() > 0.97, options


def test_far_views_are_small_on_grey_and_close_ones_large() -> None:
    shares = {zoom: (np.asarray(view(photo(), 64, zoom=zoom).mask) > 127).mean() for zoom in (0.6, 1.0, 2.5)}
    assert shares[0.6] > 2 * shares[1.0] > 8 * shares[2.5] / 2
    far = np.asarray(view(photo(), 64, zoom=2.5).picture)
    assert (far[0] == 127).all()
    assert (np.asarray(view(photo(), 64, zoom=2.5).mask)[0] == 0).all()


@pytest.mark.parametrize(
    ("box", "close"),
    [((6, 8, 34, 40), True), ((6, 8, 34, 39), True), ((2, 2, 38, 36), False), ((30, 30, 40, 40), False)],
    ids=["portrait", "portrait whose mask ends short of the edge", "whole", "small, cut off"],
)
def test_a_close_up_is_cut_off_below_and_large(box: tuple[int, int, int, int], close: bool) -> None:
    assert is_close_up(view(photo((40, 40), box), 64).mask) == close


@pytest.mark.parametrize("framed", [True, False])
def test_captions_say_which_photos_are_close_ups_where_wanted(networks: Networks, framed: bool) -> None:
    photos = [photo((40, 40), (6, 8, 34, 40)), photo(), TrainingPhoto(photo().image)]
    training = IdTraining(networks, photos, "dog", "<rex>", TrainingOptions(tokens=2, batch=2, bank=6, framed=framed))
    training.prepare()
    assert training.state_dict()["kinds"] == [*(["close"] if framed else ["plain"]), "plain", "plain"] * 2


def test_the_square_keeps_the_subject_whole() -> None:
    assert frame_subject((100, 50), (80, 10, 98, 40)) == ((75.0, 25.0), 50.0)
    assert frame_subject((100, 50), (5, 10, 95, 40)) == ((50.0, 25.0), 90.0)
    assert frame_subject((100, 50), None) == ((50.0, 25.0), 50.0)


def test_kinds_come_in_their_shares_and_captions_fit_the_pocket_words() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = [augment(photo(), 16, generator).kind for _ in range(400)]
    for kind, share in SHARES.items():
        assert abs(kinds.count(kind) / 400 - share) < 0.08
    known = {"", *WORDS[:22]}
    for templates in CAPTIONS.values():
        assert all(set(template.format("").split()) <= known for template in templates)
    assert all("far away" in t or "very small" in t or "distance" in t for t in CAPTIONS["far"])
    assert all("close up" in t or "zoomed in" in t for t in CAPTIONS["close"])


def test_one_process_may_generate_train_and_generate_again(networks: Networks) -> None:
    others = IdTokens("<tom>", "cat", torch.ones(3, WIDTH))
    first = encode("a <tom>", networks, [others])
    training = IdTraining(networks, [photo()], "dog", "<rex>", OPTIONS)
    training.step()
    both = [training.tokens(), others]
    encode("a <rex> and a <tom>", networks, both)
    assert torch.equal(encode("a <tom>", networks, both), first)
    training.step()
    again = IdTraining(networks, [photo()], "dog", "<rex>", TrainingOptions(tokens=5, batch=1, bank=1))
    assert len(again.tokens().embeddings) == 5
    assert np.isfinite(again.step().loss)


def test_a_caption_is_read_once(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    training = IdTraining(networks, [photo()], "dog", "<rex>", TrainingOptions(steps=4, bank=2, batch=3))
    read: list[str] = []
    monkeypatch.setattr(photo_training, "token_ids", lambda caption, networks: read.append(caption) or token_ids(caption, networks))
    captions = ["a photo of a <rex>", "a <rex> outside", "a photo of a <rex>"]
    ids = training._ids(captions)
    assert torch.equal(training._ids(captions[:2]), ids[:2])
    assert torch.equal(ids[0], ids[2])
    assert not torch.equal(ids[0], ids[1])
    assert len(read) == 2
