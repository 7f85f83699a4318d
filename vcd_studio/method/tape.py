"""Work that is the same at every step, on a tape: its operations and those of its way back, written down once and played from then on.
What a CUDA graph is to a card, on a CPU.

Python's modules, autograd's books and memory that is asked for anew are a quarter of a training step of pocket's UNet (118 ms, 88 ms so).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from vcd_studio.method.one_dnn import WEIGHT_OF, packed

MOST = 1 << 30
"""Bytes that a tape may keep for itself: where a step needs more, what is saved by one is nothing beside what it computes."""


class CannotBeTaped(Exception):
    """The work may go another way at the next step, changes what is not its own, or takes too much room."""


class Tape:
    """``work`` of tensors like ``sample``, and its way back to those of them that learn: the same operations on the same numbers.

    A result must be through with its way back before the next is asked for. Raises CannotBeTaped.
    """

    def __init__(self, work: Callable[..., Tensor], sample: Sequence[Tensor], most: int = MOST) -> None:
        self._given = [tensor.detach().clone() for tensor in sample]
        leaves = [own.detach().requires_grad_(like.requires_grad) for own, like in zip(self._given, sample, strict=True)]
        learnt = [leaf for leaf in leaves if leaf.requires_grad]
        self._learns = [leaf.requires_grad for leaf in leaves]
        chance = torch.get_rng_state()
        with torch.enable_grad(), _Writer(self._given) as writer:
            out = work(*leaves)
        written = len(writer.calls)
        self._back_from = torch.ones_like(out)
        writer.give(self._back_from)
        with writer:
            gradients = torch.autograd.grad(out, learnt, self._back_from) if learnt else ()
        if not torch.equal(chance, torch.get_rng_state()):
            raise CannotBeTaped("it leaves something to chance")
        results = [writer.place(result) for result in (out, *gradients)]
        wanted = {place.piece for place in results if isinstance(place, _Place)}
        lasting = {*wanted, *writer.given}
        back = _needed(writer.calls[written:], wanted)
        forth = _needed(writer.calls[:written], wanted)
        twice = sum(weight.nbytes for call in (*forth, *back) if (weight := _fixed_weight(call)) is not None)
        own = dict(zip(writer.given, (*self._given, self._back_from), strict=True))
        memory = _Memory(writer, [*forth, *back], own, lasting, most - twice)
        self._forth, self._back = ([_play(call, memory) for call in calls] for calls in (forth, back))
        self._out, *self._gradients = (memory.find(place) for place in results)

    def __call__(self, *given: Tensor) -> Tensor:
        made: Tensor = _Played.apply(self, *given)
        return made

    def forth(self, given: Sequence[Tensor]) -> Tensor:
        """The result."""
        for own, tensor in zip(self._given, given, strict=True):
            own.copy_(tensor)
        for play in self._forth:
            play()
        return self._out.clone()

    def back(self, gradient: Tensor) -> list[Tensor | None]:
        """The gradient of each tensor given, from that of the result."""
        self._back_from.copy_(gradient)
        for play in self._back:
            play()
        gradients = iter(self._gradients)
        return [next(gradients).clone() if learns else None for learns in self._learns]


class _Played(Function):
    """A tape as autograd sees it."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, *given: Tensor) -> Tensor:
        ctx.tape = tape
        return tape.forth(given)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, *ctx.tape.back(gradients[0])


@dataclass(frozen=True)
class _Place:
    """A tensor that depends on what is given: which piece of memory it lies in, and how."""

    piece: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype


@dataclass(frozen=True)
class _Call:
    """An operation, with a place for each such tensor. ``made``: None for what it leaves out; ``pieces``: all that it touches."""

    operation: Any
    args: Any
    named: Any
    made: tuple[_Place | None, ...]
    pieces: frozenset[int]

    @property
    def mutates(self) -> bool:
        return bool(self.operation._schema.is_mutable)


class _Writer(TorchDispatchMode):
    """While open, writes down operations on what depends on ``given``. What does not is kept as it came out, and a view is only a place."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Call] = []
        self.bytes: list[int] = []
        """Of each piece of memory."""
        self.given: list[int] = []
        self._pieces: dict[int, int] = {}
        self._constant: set[int] = set()
        self._seen: list[StorageWeakRef] = []
        """So that the identity of memory that was freed is not given to another."""
        for tensor in given:
            self.give(tensor)

    def give(self, tensor: Tensor) -> None:
        """From now on, one more thing that what is computed may depend on."""
        self._new(tensor)
        self.given.append(self._pieces[_identity(tensor)])

    def place(self, tensor: Tensor) -> _Place | Tensor:
        """The tensor itself where it depends on nothing given."""
        piece = self._pieces.get(_identity(tensor))
        if piece is None:
            return tensor.detach()
        return _Place(piece, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.dtype)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), named: Any = None) -> Any:
        named = named or {}
        if torch.Tag.data_dependent_output in operation.tags:  # Python sees the number, and may go another way by another
            raise CannotBeTaped(f"{operation} looks at numbers")
        made = operation(*args, **named)
        self._write(operation, args, named, made if isinstance(made, (tuple, list)) else (made,))
        return made

    def _write(self, operation: Any, args: Any, named: Any, made: Sequence[Any]) -> None:
        taken = {_identity(tensor) for tensor in _within((args, named), Tensor)}
        depends = not taken.isdisjoint(self._pieces)
        fresh = [tensor for tensor in _within(made, Tensor) if _identity(tensor) not in taken]
        if operation._schema.is_mutable:
            made_before = {memory for memory, piece in self._pieces.items() if piece not in self.given}
            self._may_write(operation, args, named, made_before if depends else self._constant)
        elif not fresh:
            return
        if not depends:
            self._constant.update(map(_identity, fresh))
            self._seen += [StorageWeakRef(tensor.untyped_storage()) for tensor in fresh]
            return
        args, named = _replaced((args, named), Tensor, self.place)
        for tensor in fresh:
            self._new(tensor)
        results = tuple(_replaced(made, Tensor, self.place))
        pieces = frozenset(place.piece for place in _within((args, named, results), _Place))
        self.calls.append(_Call(operation, args, named, results, pieces))

    def _may_write(self, operation: Any, args: Any, named: Any, own: set[int]) -> None:
        """Into what it made itself; and what depends on what is given, only into what does too."""
        arguments = operation._schema.arguments
        written = {argument.name for argument in arguments if argument.is_write}
        values = {**dict(zip((argument.name for argument in arguments), args, strict=False)), **named}
        into = _within([values[name] for name in written if name in values], Tensor)
        if any(_identity(tensor) not in own for tensor in into):
            raise CannotBeTaped(f"{operation} changes what was there before")

    def _new(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._seen.append(StorageWeakRef(storage))
        self._pieces[_identity(tensor)] = len(self.bytes)
        self.bytes.append(storage.nbytes())


def _needed(calls: Sequence[_Call], wanted: set[int]) -> list[_Call]:
    """Calls that write into a piece of memory that is wanted; what they read is added to it."""
    needed = []
    for call in reversed(calls):
        if call.mutates or any(place.piece in wanted for place in call.made if place):
            if torch.Tag.dynamic_output_shape in call.operation.tags:
                raise CannotBeTaped(f"what {call.operation} makes may be of another size")
            wanted |= call.pieces
            needed.append(call)
    return needed[::-1]


class _Memory:
    """Pieces of memory, each used for another once the last that reads it is done; ``own`` and ``lasting`` ones are not. CannotBeTaped
    where they take more than ``most`` bytes."""

    def __init__(self, writer: _Writer, calls: Sequence[_Call], own: dict[int, Tensor], lasting: set[int], most: int) -> None:
        self._pieces = {piece: tensor.untyped_storage() for piece, tensor in own.items()}
        self._found: dict[_Place, Tensor] = {}
        last = {piece: i for i, call in enumerate(calls) for piece in call.pieces}
        free: defaultdict[int, list[torch.UntypedStorage]] = defaultdict(list)
        for i, call in enumerate(calls):
            for piece in call.pieces - self._pieces.keys():
                size = writer.bytes[piece]
                if not free[size]:
                    most -= size
                    if most < 0:
                        raise CannotBeTaped("it takes too much room")
                    free[size].append(torch.UntypedStorage(size))
                self._pieces[piece] = free[size].pop()
            for piece in call.pieces - lasting:
                if last[piece] == i:
                    free[writer.bytes[piece]].append(self._pieces[piece])

    def find(self, place: _Place | Tensor) -> Tensor:
        if isinstance(place, Tensor):
            return place
        if place not in self._found:
            nothing = torch.empty(0, dtype=place.dtype)
            self._found[place] = nothing.set_(self._pieces[place.piece], place.offset, place.size, place.stride)
        return self._found[place]


def _play(call: _Call, memory: _Memory) -> Callable[[], Any]:
    """The call as a function of nothing; its results are found where they were written down to lie."""
    operation, made = call.operation, _replaced(call.made, _Place, memory.find)
    args, named = _replaced((call.args, call.named), _Place, memory.find)
    if call.mutates:
        return partial(operation, *args, **named)
    if _fixed_weight(call) is not None and (quick := packed(operation, args)):
        return partial(_copied, quick, made[:1])
    writing = _writing(operation)
    if writing is None or None in call.made:
        return partial(_copied, partial(operation, *args, **named), made)
    into, names = writing
    return partial(into, *args, **named, **dict(zip(names, made, strict=True)))


def _fixed_weight(call: _Call) -> Tensor | None:
    """A convolution's, where it depends on nothing given."""
    weight = call.args[WEIGHT_OF[call.operation]] if call.operation in WEIGHT_OF else None
    return weight if isinstance(weight, Tensor) else None


def _copied(operation: Callable[[], Any], outputs: Sequence[Tensor | None]) -> None:
    made = operation()
    for output, tensor in zip(outputs, made if isinstance(made, (tuple, list)) else (made,), strict=True):
        if output is not None:
            output.copy_(tensor)


@cache
def _writing(operation: Any) -> tuple[Any, list[str]] | None:
    """The same operation that writes into tensors it is handed, and what it calls them."""
    wanted = [(argument.name, str(argument.type)) for argument in operation._schema.arguments]
    for name in operation.overloadpacket.overloads():
        other = getattr(operation.overloadpacket, name)
        into = [argument.name for argument in other._schema.arguments if argument.is_out]
        if into and wanted == [(argument.name, str(argument.type)) for argument in other._schema.arguments if not argument.is_out]:
            return other, into
    return None


def _within(values: Any, kind: type) -> Iterator[Any]:
    """All of a kind, in lists of lists too."""
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, kind):
            yield value
        elif isinstance(value, (tuple, list, dict)):
            yield from _within(value, kind)


def _replaced(values: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """The same lists, with others for all of a kind."""
    if isinstance(values, kind):
        return by(values)
    if isinstance(values, dict):
        return {name: _replaced(value, kind, by) for name, value in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values)(_replaced(value, kind, by) for value in values)
    return values


def _identity(tensor: Tensor) -> int:
    """Of the memory it lies in."""
    return int(tensor.untyped_storage()._cdata)
