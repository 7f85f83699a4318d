"""Work on a tape: the same numbers as the work itself, there and back; and what is not put on one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny import WIDTH, WORDS, tiny_networks
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, dropout, embedding, gelu, interpolate, scaled_dot_product_attention

from vcd_studio.method.tape import CannotBeTaped, Tape

Work = Callable[..., Tensor]

LAYERS = {
    "a padded convolution": lambda: nn.Conv2d(8, 8, 3, padding=1),
    "one without a bias": lambda: nn.Conv2d(8, 8, 3, bias=False),
    "one that halves": lambda: nn.Conv2d(8, 8, 3, stride=2, padding=1),
    "one of a cell": lambda: nn.Conv2d(8, 8, 1),
    "one padded more than it is wide": lambda: nn.Conv2d(8, 8, 1, padding=1),
    "one in groups": lambda: nn.Conv2d(8, 8, 3, groups=4),
    "one with gaps": lambda: nn.Conv2d(8, 8, 3, dilation=2, padding=2),
    "one that doubles": lambda: nn.ConvTranspose2d(8, 8, 2, stride=2),
    "one of channels last": lambda: nn.Conv2d(8, 8, 3, padding=1).to(memory_format=torch.channels_last),
    "a norm": lambda: nn.GroupNorm(2, 8),
    "tokens": lambda: nn.Sequential(nn.Flatten(2), nn.LayerNorm(64), nn.Linear(64, 32), nn.GELU()),
    "a window": lambda: nn.Sequential(nn.Unfold(2), nn.Fold((8, 8), 2)),
}


def there_and_back(work: Work, *given: Tensor) -> tuple[Tensor, ...]:
    """The result, and the gradients of all that is learnt, each cell of the result weighed in its own way."""
    out = work(*given)
    learnt = [tensor for tensor in given if tensor.requires_grad]
    return out.detach(), *torch.autograd.grad(out, learnt, torch.linspace(-1, 1, out.numel()).reshape(out.shape))


def plays(work: Work, *shapes: tuple[int, ...]) -> None:
    """A tape of it gives what it gives, of other numbers than it was written with, time and again."""
    tape = Tape(work, [torch.randn(shape, requires_grad=True) for shape in shapes])
    for _ in range(2):
        given = [torch.randn(shape, requires_grad=True) for shape in shapes]
        for played, wanted in zip(there_and_back(tape, *given), there_and_back(work, *given), strict=True):
            torch.testing.assert_close(played, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_come_out_the_same(layer: str) -> None:
    torch.manual_seed(0)
    plays(LAYERS[layer](), (2, 8, 8, 8))


def test_works_come_out_the_same() -> None:
    torch.manual_seed(0)
    plays(lambda x, y: (x / 1.0 + y) * y.sin().expand_as(x), (3, 4), (1, 4))
    plays(lambda x: torch.cat([gelu(part) for part in x.chunk(2, 1)][::-1], 1) + x, (2, 6))
    plays(lambda q, k: scaled_dot_product_attention(q, k, k), (2, 2, 5, 8), (2, 2, 7, 8))
    plays(lambda x: interpolate(x, scale_factor=2.0).transpose(1, 2).reshape(2, -1).softmax(-1), (2, 3, 4, 4))
    plays(lambda x: torch.where(x > 0, x, torch.arange(4.0)), (3, 4))
    plays(lambda x: x.clone().mul_(2).add_(x), (3, 4))
    plays(lambda x: (x * 1).index_select(0, torch.tensor([0, 0, 1])).zero_() + x, (3, 4))
    plays(lambda x, weight: conv2d(x, weight) + conv_transpose2d(x, weight).mean(), (1, 2, 5, 5), (2, 2, 3, 3))


def test_what_is_not_learnt_has_no_gradient_and_may_be_whole_numbers() -> None:
    table = torch.randn(5, 3)
    tape = Tape(lambda scale, ids: embedding(ids, table) * scale, [torch.ones(3, requires_grad=True), torch.tensor([1, 2])])
    scale = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    out = tape(scale, torch.tensor([4, 0]))
    assert torch.equal(out, table[[4, 0]] * scale)
    (gradient,) = torch.autograd.grad(out.sum(), scale)
    torch.testing.assert_close(gradient, table[[4, 0]].sum(0))


def test_work_through_which_nothing_learns_is_played_too() -> None:
    tape = Tape(lambda x: x.exp() + 1, [torch.zeros(3)])
    assert torch.equal(tape(torch.ones(3)), torch.ones(3).exp() + 1)


def test_a_result_stays_when_the_next_is_played() -> None:
    tape = Tape(lambda x: x + 1, [torch.zeros(2, requires_grad=True)])
    first, second = tape(torch.zeros(2)), tape(torch.ones(2))
    assert torch.equal(first, torch.ones(2))
    assert torch.equal(second, torch.full((2,), 2.0))


def test_weights_are_read_as_they_are_when_it_is_played() -> None:
    layer = nn.Linear(3, 3)
    tape = Tape(layer, [torch.ones(1, 3)])
    with torch.no_grad():
        layer.weight.zero_()
    torch.testing.assert_close(tape(torch.ones(1, 3)), layer.bias.detach()[None])


def test_memory_is_shared_by_what_is_not_needed_at_one_time() -> None:
    def work(x: Tensor) -> Tensor:
        for _ in range(50):
            x = x.sin()
        return x

    shown = torch.ones(1000)
    assert torch.equal(Tape(work, [shown], most=3 * shown.nbytes)(shown), work(shown))
    with pytest.raises(CannotBeTaped, match="too much room"):
        Tape(work, [shown], most=shown.nbytes)
    convolution = nn.Conv2d(8, 8, 3)
    with pytest.raises(CannotBeTaped, match="too much room"):  # its weight once more, packed
        Tape(convolution, [torch.ones(1, 8, 3, 3)], most=convolution.weight.nbytes)
    with pytest.raises(CannotBeTaped, match="too much room"):  # every step's input is needed again on the way back
        Tape(work, [shown.requires_grad_()], most=40 * shown.nbytes)


COUNTER = torch.zeros(2)
ODD: dict[str, Work] = {
    "looks at numbers": lambda x: x if x.sum() > 0 else -x,
    "leaves something to chance": lambda x: dropout(x, 0.5),
    "is of another size": lambda x: x[x > 0].sum() + x,
    "changes what was there": lambda x: x + COUNTER.add_(1),
    "changes what was there by what is given": lambda x: x + COUNTER.add_(x),
    "changes what was there by name": lambda x: torch.add(x.detach(), 1, out=COUNTER) + x,
    "changes what is given": lambda x: x.detach().add_(1) + x,
    "fills what it made of nothing": lambda x: torch.zeros(2).copy_(x) + x,
}


@pytest.mark.parametrize("odd", ODD)
def test_what_may_be_otherwise_at_the_next_step_is_not_put_on_a_tape(odd: str) -> None:
    with pytest.raises(CannotBeTaped):
        Tape(ODD[odd], [torch.ones(2, requires_grad=True)])


def test_a_unet_and_its_text_encoder() -> None:
    networks = tiny_networks()
    for network in (networks.unet, networks.text_encoder):
        network.requires_grad_(False).eval()
    length = networks.tokenizer.model_max_length

    def work(scale: Tensor, noisy: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        embeds: Tensor = networks.text_encoder(ids)[0] * scale
        predicted: Tensor = networks.unet(noisy, t, encoder_hidden_states=embeds).sample
        return predicted

    def given(seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, len(WORDS), (2, length), generator=generator)
        t = torch.randint(0, 1000, (2,), generator=generator)
        return [torch.randn(WIDTH, generator=generator).requires_grad_(), torch.randn((2, 4, 8, 8), generator=generator), t, ids]

    tape = Tape(work, given(0))
    for seed in (1, 2):
        for played, wanted in zip(there_and_back(tape, *given(seed)), there_and_back(work, *given(seed)), strict=True):
            torch.testing.assert_close(played, wanted, rtol=1e-3, atol=1e-5)
