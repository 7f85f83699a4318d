"""Linear layers by oneDNN, feed-forwards by pieces: the same numbers to rounding, with whatever layers and input are at the moment."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention import FeedForward

from vcd_studio.method import one_dnn
from vcd_studio.method.one_dnn import WEIGHT_OF, by_one_dnn, packed
from vcd_studio.method.protocols import Networks


@pytest.fixture
def block(networks: Networks) -> Any:
    return next(block for block in networks.motion_unet.modules() if isinstance(block, FeedForward))


@pytest.fixture(params=["oneDNN", "pieces"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways, whichever is the quicker on the processor that tests run on."""
    if request.param == "oneDNN" and not one_dnn._has_one_dnn():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(one_dnn, "_is_quicker", lambda: request.param == "oneDNN")
    monkeypatch.setattr(one_dnn, "PIECE", 128)  # a few cells of the tiny networks
    return str(request.param)


def hidden_for(block: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 3, block.net[0].proj.in_features, dtype=dtype)


def test_layers_are_run_with_the_weights_of_the_moment(networks: Networks, block: Any, way: str) -> None:
    """Networks that take turns on a card get other tensors for their weights in the middle of a clip."""
    hidden = hidden_for(block)
    with torch.inference_mode(), by_one_dnn(networks.motion_unet):
        block(hidden)
        for parameter in block.parameters():
            parameter.data = parameter.data * 1.5
        run = block(hidden)
    with torch.inference_mode():
        assert torch.allclose(block(hidden), run, rtol=1e-4, atol=1e-6)


def test_half_precision_and_autocast_come_out_as_ever(networks: Networks, block: Any, way: str) -> None:
    single = hidden_for(block)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = block(single)
        with by_one_dnn(networks.motion_unet):
            assert (cast := block(single)).dtype == torch.bfloat16
    assert torch.allclose(cast, expected, rtol=0.05, atol=0.01)
    halved = FeedForward(8, activation_fn="geglu").bfloat16()
    hidden = hidden_for(halved, torch.bfloat16)
    with torch.inference_mode():
        expected = halved(hidden)
        with by_one_dnn(halved):
            assert torch.allclose(halved(hidden), expected, rtol=0.05, atol=0.01)


@pytest.mark.skipif(not one_dnn._has_one_dnn(), reason="this torch has no oneDNN")
def test_it_is_one_dnn_that_runs_them_in_single_precision_alone(networks: Networks, block: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[str] = []
    product = one_dnn._product
    monkeypatch.setattr(one_dnn, "_is_quicker", lambda: True)
    monkeypatch.setattr(one_dnn, "_product", lambda *given: products.append(given[-1] if len(given) > 3 else "none") or product(*given))
    hidden = hidden_for(block)
    with torch.inference_mode(), by_one_dnn(networks.motion_unet):
        block(hidden)
        assert products == ["gelu", "none"]
        with torch.autocast("cpu", torch.bfloat16):
            block(hidden)
    with by_one_dnn(networks.motion_unet):
        block(hidden)
    assert products == ["gelu", "none"]


def test_learning_goes_the_usual_way(networks: Networks, block: Any, way: str) -> None:
    hidden = hidden_for(block).requires_grad_()
    (expected,) = torch.autograd.grad(block(hidden).square().sum(), hidden)
    with by_one_dnn(networks.motion_unet):
        (slope,) = torch.autograd.grad(block(hidden).square().sum(), hidden)
    assert torch.allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_where_it_is_not_the_quicker_feed_forwards_alone_go_another_way(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_dnn, "_is_quicker", lambda: False)
    with by_one_dnn(networks.motion_unet):
        changed = [module for module in networks.motion_unet.modules() if "forward" in vars(module)]
    assert changed
    assert {type(module) for module in changed} == {FeedForward}


@pytest.mark.parametrize("cells", [1, 4, 9])
def test_pieces_come_to_the_whole(networks: Networks, block: Any, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four cells each, the last one shorter; none longer, whatever the picture's size."""
    monkeypatch.setattr(one_dnn, "_is_quicker", lambda: False)
    width = block.net[0].proj.out_features // 2
    monkeypatch.setattr(one_dnn, "PIECE", 4 * width + 1)
    seen: list[int] = []
    hidden = torch.randn(1, cells, block.net[0].proj.in_features)
    handle = block.net[2].register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    with torch.inference_mode():
        expected = block(hidden)
        seen.clear()
        with by_one_dnn(networks.motion_unet):
            made = block(hidden)
    handle.remove()
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-6)
    assert made.shape == expected.shape
    assert seen == [4] * (cells // 4) + [cells % 4] * (cells % 4 > 0)


def test_a_convolution_and_the_way_back_through_it_are_packed_where_that_can_be() -> None:
    there, back = WEIGHT_OF
    x, weight, bias, gradient = torch.randn(2, 8, 5, 5), torch.randn(4, 8, 3, 3), torch.randn(4), torch.randn(2, 4, 5, 5)
    plain = [[1, 1], [1, 1], [1, 1], False, [0, 0], 1]
    one, other = packed(there, [x, weight, bias, *plain]), packed(back, [gradient, x, weight, None, *plain, [True, False, False]])
    assert one
    assert other
    torch.testing.assert_close(one(), there(x, weight, bias, *plain), rtol=1e-4, atol=1e-4)
    wanted = back(gradient, x, weight, None, *plain, [True, False, False])[0]
    torch.testing.assert_close(other(), wanted, rtol=1e-4, atol=1e-4)
    assert packed(there, [x.double(), weight.double(), bias.double(), *plain]) is None
    halved = [[2, 2], *plain[1:]]
    assert packed(back, [torch.randn(2, 4, 3, 3), x, weight, None, *halved, [True, False, False]]) is None
    assert packed(back, [gradient, x, weight, None, *plain, [True, True, False]]) is None
