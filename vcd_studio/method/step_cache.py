"""Step caching (DeepCache, Ma et al. 2024, arXiv 2312.00858, section 3.2): what a UNet sees deep inside changes little from one step to the
next, so that most steps can do with what the last whole one saw there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from vcd_studio.method.replaced import replaced_forwards


@contextmanager
def cached_steps(unet: Any, every: int, views: int = 1) -> Iterator[None]:
    """While open, a UNet runs whole at every ``every``-th step alone; at each step it must be called once for each of ``views``, in order.

    Between whole steps only the outermost down block and the outermost up block run, the latter on the deep features of the view's last
    whole step. A ControlNet's residuals reach the skips between these two as ever. Where the batch has changed (guidance has begun or
    ended), the step is a whole one.
    """
    if every <= 1 or len(unet.up_blocks) < 2:
        yield
        return
    deep = _DeepFeatures(every, views)
    forwards = {unet: deep.counted(unet.forward), unet.up_blocks[-2]: deep.kept(unet.up_blocks[-2].forward)}
    forwards |= {block: deep.left_out(block) for block in (*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-2]) if block}
    with replaced_forwards(forwards):
        yield


class _DeepFeatures:
    """What came up to the outermost up block, (b · f, channels, h, w), for each view and batch size; and whose turn it is."""

    def __init__(self, every: int, views: int) -> None:
        self._every, self._views = every, views
        self._calls = 0
        self._known: dict[tuple[int, int], Tensor] = {}

    def counted(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The UNet's own: tells whether this is a whole step."""

        def run(sample: Tensor, *rest: Any, **named: Any) -> Any:
            step, view = divmod(self._calls, self._views)
            self._calls += 1
            self._turn = (view, len(sample))
            self._whole = step % self._every == 0 or self._turn not in self._known
            self._nothing = sample.new_zeros(())  # takes a ControlNet's residual of any shape
            return forward(sample, *rest, **named)

        return run

    def kept(self, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The last of the inner blocks: what it gives is remembered."""

        def run(*rest: Any, **named: Any) -> Tensor:
            if self._whole:
                self._known[self._turn] = forward(*rest, **named)
            return self._known[self._turn]

        return run

    def left_out(self, block: Any) -> Callable[..., Any]:
        """An inner block that between whole steps gives nothing, and as many skips of nothing as it has."""
        forward = block.forward
        skips = len(block.resnets) + len(block.downsamplers or ()) if hasattr(block, "downsamplers") else None

        def run(*rest: Any, **named: Any) -> Any:
            if self._whole:
                return forward(*rest, **named)
            return self._nothing if skips is None else (self._nothing, (self._nothing,) * skips)

        return run
