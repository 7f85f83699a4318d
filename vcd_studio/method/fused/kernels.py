"""What runs on the card. Everything is in rows of channels (cells, or tokens, one after the other), reckoned in fp32, kept in its own type.

Imported by ``layers`` alone, when something is to run: Triton comes with torch's builds for NVIDIA cards on Linux, and with no other.
"""

import triton
import triton.language as tl


@triton.jit
def channel_sums(
    x, residual, bias, y, firsts, sums, squares, rows, channels, part,
    ADDED: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Over ``part`` of a frame's ``rows``, for each channel: the sum of x - x₀ and of its square, x₀ being the frame's first row.

    Taken from x₀ and not from 0, so that a large mean leaves the spread its digits. Where ``ADDED``, they are those of y = x + residual +
    the channel's bias, which is made on the way.
    """
    frame, piece, block = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    channel = block * WIDTH + tl.arange(0, WIDTH)
    inside = channel < channels
    start = frame * rows * channels + channel
    first = tl.load(x + start, mask=inside, other=0.0).to(tl.float32)
    if ADDED:
        added = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
        first = first + tl.load(residual + start, mask=inside, other=0.0).to(tl.float32) + added
        first = first.to(y.dtype.element_ty).to(tl.float32)
    if piece == 0:
        tl.store(firsts + frame * channels + channel, first, mask=inside)
    total = tl.zeros((BLOCK, WIDTH), tl.float32)
    square = tl.zeros((BLOCK, WIDTH), tl.float32)
    for at in range(0, part, BLOCK):
        row = piece * part + at + tl.arange(0, BLOCK)
        seen = (row < rows)[:, None] & inside[None, :]
        place = (frame * rows + row)[:, None] * channels + channel[None, :]
        value = tl.load(x + place, mask=seen, other=0.0).to(tl.float32)
        if ADDED:
            value = value + tl.load(residual + place, mask=seen, other=0.0).to(tl.float32) + added[None, :]
            rounded = value.to(y.dtype.element_ty)
            tl.store(y + place, rounded, mask=seen)
            value = rounded.to(tl.float32)
        apart = tl.where(seen, value - first[None, :], 0.0)
        total += apart
        square += apart * apart
    out = (frame * tl.num_programs(1) + piece) * channels + channel
    tl.store(sums + out, tl.sum(total, 0), mask=inside)
    tl.store(squares + out, tl.sum(square, 0), mask=inside)


@triton.jit
def group_scales(
    firsts, shift, weight, bias, sums, squares, scale, offset, centre, narrow, rows, frames, channels, size, pieces, part, eps,
    SHIFTED: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """For each of a group's ``size`` channels the two numbers that normalise it, over ``frames`` frames together: y = scale · x + offset.
    ``shift`` is to be added to x before. And for the way back: y = weight · narrow · (x - centre) + bias."""
    instance, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    within = tl.arange(0, WIDTH)
    inside = within < size
    channel = group * size + within
    first = tl.load(firsts + instance * frames * channels + channel, mask=inside, other=0.0)
    total = tl.zeros((WIDTH,), tl.float32)
    square = tl.zeros((WIDTH,), tl.float32)
    for begin in range(0, frames * pieces, BLOCK):
        piece = begin + tl.arange(0, BLOCK)
        seen = (piece < frames * pieces)[:, None] & inside[None, :]
        frame = instance * frames + piece // pieces
        count = tl.minimum(rows - piece % pieces * part, part).to(tl.float32)[:, None]
        further = tl.load(firsts + frame[:, None] * channels + channel[None, :], mask=seen, other=0.0) - first[None, :]
        place = (instance * frames * pieces + piece)[:, None] * channels + channel[None, :]
        apart = tl.load(sums + place, mask=seen, other=0.0)
        apart_squared = tl.load(squares + place, mask=seen, other=0.0)
        total += tl.sum(tl.where(seen, apart + count * further, 0.0), 0)
        square += tl.sum(tl.where(seen, apart_squared + further * (2 * apart + count * further), 0.0), 0)
    added = tl.zeros((WIDTH,), tl.float32)
    if SHIFTED:
        added = tl.load(shift + instance * channels + channel, mask=inside, other=0.0).to(tl.float32)
    cells = rows * frames
    mean = tl.where(inside, first + added + total / cells, 0.0)
    middle = tl.sum(mean, 0) / size
    spread = tl.where(inside, square - total * total / cells + cells * (mean - middle) * (mean - middle), 0.0)
    by = 1 / tl.sqrt(tl.sum(spread, 0) / (cells * size) + eps)
    factor = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32) * by
    out = instance * channels + channel
    tl.store(centre + out, middle - added, mask=inside)
    tl.store(narrow + out, tl.zeros((WIDTH,), tl.float32) + by, mask=inside)
    tl.store(scale + out, factor, mask=inside)
    tl.store(offset + out, tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32) + (added - middle) * factor, mask=inside)


@triton.jit
def scaled(
    x, scale, offset, y, rows, channels, begin, whole,
    SILU: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """y = scale · x + offset, by instance and channel; then SiLU. x has ``channels`` of y's ``whole``, from ``begin`` on."""
    piece, block, instance = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    channel = block * WIDTH + tl.arange(0, WIDTH)
    inside = channel < channels
    factor = tl.load(scale + instance * whole + begin + channel, mask=inside, other=0.0)
    added = tl.load(offset + instance * whole + begin + channel, mask=inside, other=0.0)
    row = piece * BLOCK + tl.arange(0, BLOCK)
    seen = (row < rows)[:, None] & inside[None, :]
    place = instance * rows + row
    value = tl.load(x + place[:, None] * channels + channel[None, :], mask=seen, other=0.0).to(tl.float32)
    value = value * factor[None, :] + added[None, :]
    if SILU:
        value = value * tl.sigmoid(value)
    tl.store(y + place[:, None] * whole + begin + channel[None, :], value.to(y.dtype.element_ty), mask=seen)


@triton.jit
def before_silu(dy, x, factor, added, SILU: tl.constexpr):
    """The gradient of what SiLU was taken of, y = factor · x + added."""
    if SILU:
        y = factor * x + added
        opened = tl.sigmoid(y)
        dy = dy * opened * (1 + y * (1 - opened))
    return dy


@triton.jit
def gradient_sums(
    x, dy, scale, offset, centre, sums, products, rows, channels, part,
    SILU: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Over ``part`` of an instance's ``rows``, for each channel: the sum of the gradient dy, and of dy · (x - centre)."""
    instance, piece, block = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    channel = block * WIDTH + tl.arange(0, WIDTH)
    inside = channel < channels
    factor = tl.load(scale + instance * channels + channel, mask=inside, other=0.0)[None, :]
    added = tl.load(offset + instance * channels + channel, mask=inside, other=0.0)[None, :]
    middle = tl.load(centre + instance * channels + channel, mask=inside, other=0.0)[None, :]
    total = tl.zeros((BLOCK, WIDTH), tl.float32)
    product = tl.zeros((BLOCK, WIDTH), tl.float32)
    for at in range(0, part, BLOCK):
        row = piece * part + at + tl.arange(0, BLOCK)
        seen = (row < rows)[:, None] & inside[None, :]
        place = (instance * rows + row)[:, None] * channels + channel[None, :]
        value = tl.load(x + place, mask=seen, other=0.0).to(tl.float32)
        change = before_silu(tl.load(dy + place, mask=seen, other=0.0).to(tl.float32), value, factor, added, SILU)
        total += change
        product += change * (value - middle)
    out = (instance * tl.num_programs(1) + piece) * channels + channel
    tl.store(sums + out, tl.sum(total, 0), mask=inside)
    tl.store(products + out, tl.sum(product, 0), mask=inside)


@triton.jit
def gradient_scales(
    weight, centre, narrow, sums, products, by_x, constant, rows, channels, size, pieces,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """For each of a group's ``size`` channels two of the numbers that make the gradient of x: dx = scale · dy + by_x · x + constant."""
    instance, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    within = tl.arange(0, WIDTH)
    inside = within < size
    channel = group * size + within
    total = tl.zeros((WIDTH,), tl.float32)
    product = tl.zeros((WIDTH,), tl.float32)
    for begin in range(0, pieces, BLOCK):
        piece = begin + tl.arange(0, BLOCK)
        seen = (piece < pieces)[:, None] & inside[None, :]
        place = (instance * pieces + piece)[:, None] * channels + channel[None, :]
        total += tl.sum(tl.load(sums + place, mask=seen, other=0.0), 0)
        product += tl.sum(tl.load(products + place, mask=seen, other=0.0), 0)
    out = instance * channels + channel
    factor = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    by = tl.load(narrow + out, mask=inside, other=0.0)
    middle = tl.load(centre + out, mask=inside, other=0.0)
    mean = tl.sum(factor * total, 0) / (rows * size)
    slope = by * by * by * tl.sum(factor * product, 0) / (rows * size)
    tl.store(by_x + out, -slope, mask=inside)
    tl.store(constant + out, slope * middle - by * mean, mask=inside)


@triton.jit
def gradient(
    x, dy, scale, offset, by_x, constant, dx, rows, channels,
    SILU: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """dx = scale · dy + by_x · x + constant, by instance and channel."""
    piece, block, instance = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    channel = block * WIDTH + tl.arange(0, WIDTH)
    inside = channel < channels
    numbers = instance * channels + channel
    factor = tl.load(scale + numbers, mask=inside, other=0.0)[None, :]
    added = tl.load(offset + numbers, mask=inside, other=0.0)[None, :]
    slope = tl.load(by_x + numbers, mask=inside, other=0.0)[None, :]
    level = tl.load(constant + numbers, mask=inside, other=0.0)[None, :]
    row = piece * BLOCK + tl.arange(0, BLOCK)
    seen = (row < rows)[:, None] & inside[None, :]
    place = (instance * rows + row)[:, None] * channels + channel[None, :]
    value = tl.load(x + place, mask=seen, other=0.0).to(tl.float32)
    change = before_silu(tl.load(dy + place, mask=seen, other=0.0).to(tl.float32), value, factor, added, SILU)
    tl.store(dx + place, (factor * change + slope * value + level).to(dx.dtype.element_ty), mask=seen)


@triton.jit
def layer_norm(
    x, residual, weight, bias, places, more, total, y, rows, channels, cells, frames, eps,
    ADDED: tl.constexpr, PLACED: tl.constexpr, MORE: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """y = the layer norm of x + residual, where that is ``ADDED``, and where ``PLACED`` + what tells a frame's place in time (rows run
    through the cells of a frame, then through the frames of a clip). total = x + residual, and where there is ``MORE``, + that."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, WIDTH)
    inside = channel < channels
    seen = (row < rows)[:, None] & inside[None, :]
    place = row[:, None] * channels + channel[None, :]
    value = tl.load(x + place, mask=seen, other=0.0)
    if ADDED:
        value = (value.to(tl.float32) + tl.load(residual + place, mask=seen, other=0.0).to(tl.float32)).to(y.dtype.element_ty)
        if MORE:
            sum = value.to(tl.float32) + tl.load(more + channel, mask=inside, other=0.0).to(tl.float32)[None, :]
            tl.store(total + place, sum.to(y.dtype.element_ty), mask=seen)
        else:
            tl.store(total + place, value, mask=seen)
    value = value.to(tl.float32)
    mean = tl.sum(value, 1) / channels
    apart = tl.where(inside[None, :], value - mean[:, None], 0.0)
    factor = 1 / tl.sqrt(tl.sum(apart * apart, 1) / channels + eps)
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    out = apart * factor[:, None] * scale[None, :] + offset[None, :]
    if PLACED:
        frame = (row // cells) % frames
        out += tl.load(places + frame[:, None] * channels + channel[None, :], mask=seen, other=0.0).to(tl.float32)
    tl.store(y + place, out.to(y.dtype.element_ty), mask=seen)


@triton.jit
def gated(x, y, rows, width, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    """y = x's first half · GELU of its second (Shazeer 2020, GEGLU), in each row; ``width`` is y's."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    seen = (row < rows)[:, None] & (column < width)[None, :]
    place = row[:, None] * 2 * width + column[None, :]
    value = tl.load(x + place, mask=seen, other=0.0).to(tl.float32)
    gate = tl.load(x + place + width, mask=seen, other=0.0).to(tl.float32)
    opened = 0.5 * gate * (1 + tl.erf(gate * 0.7071067811865476))
    tl.store(y + row[:, None] * width + column[None, :], (value * opened).to(y.dtype.element_ty), mask=seen)


@triton.jit
def interleaved(a, b, c, d, bias, y, height, width, channels, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    """A picture of twice ``height`` and ``width`` out of four (height + 1, width + 1), of its even and odd rows and columns: a from its
    upper left, b from its upper right, c and d below. The channel's bias is added."""
    piece, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    instance = tl.program_id(2).to(tl.int64)
    channel = block * WIDTH + tl.arange(0, WIDTH)
    inside = channel < channels
    added = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    cell = piece * BLOCK + tl.arange(0, BLOCK)
    seen = (cell < height * width)[:, None] & inside[None, :]
    row, column = cell // width, cell % width
    for part in tl.static_range(4):
        down, across = part // 2, part % 2
        x = a if part == 0 else b if part == 1 else c if part == 2 else d
        source = (instance * (height + 1) + row + down) * (width + 1) + column + across
        target = (instance * 2 * height + 2 * row + down) * 2 * width + 2 * column + across
        value = tl.load(x + source[:, None] * channels + channel[None, :], mask=seen, other=0.0).to(tl.float32) + added[None, :]
        tl.store(y + target[:, None] * channels + channel[None, :], value.to(y.dtype.element_ty), mask=seen)


@triton.jit
def powers(scores, y, sums, cells, scale, WIDTH: tl.constexpr):
    """y = e to the power of each of a row's ``cells`` scores, times ``scale``, less the row's highest; and the row's sum of them."""
    row = tl.program_id(0).to(tl.int64)
    cell = tl.arange(0, WIDTH)
    inside = cell < cells
    score = tl.load(scores + row * cells + cell, mask=inside, other=float("-inf")) * scale
    power = tl.exp(score - tl.max(score, 0))
    tl.store(y + row * cells + cell, power.to(y.dtype.element_ty), mask=inside)
    tl.store(sums + row, tl.sum(power, 0))


@triton.jit
def widened(x, more, bias, y, rows, before, added, slope, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    """y = x's ``before`` channels, and behind them the ``added`` ones of more: with the channel's bias, and times ``slope`` where that is
    below 0 (leaky ReLU)."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    whole = before + added
    there = channel < before
    new = (channel >= before) & (channel < whole)
    inside = (row < rows)[:, None]
    old = tl.load(x + row[:, None] * before + channel[None, :], mask=inside & there[None, :], other=0.0)
    value = tl.load(more + row[:, None] * added + (channel - before)[None, :], mask=inside & new[None, :], other=0.0).to(tl.float32)
    value = value + tl.load(bias + channel - before, mask=new, other=0.0).to(tl.float32)[None, :]
    value = tl.where(value < 0, value * slope, value).to(y.dtype.element_ty)
    kept = tl.where(there[None, :], old, value)
    tl.store(y + row[:, None] * whole + channel[None, :], kept, mask=inside & (channel < whole)[None, :])


@triton.jit
def moved(x, by, bias, y, rows, channels, share, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    """y = x + share · (by + the channel's bias)."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    seen = (row < rows)[:, None] & (channel < channels)[None, :]
    place = row[:, None] * channels + channel[None, :]
    step = tl.load(by + place, mask=seen, other=0.0).to(tl.float32)
    step = step + tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)[None, :]
    value = tl.load(x + place, mask=seen, other=0.0).to(tl.float32) + share * step
    tl.store(y + place, value.to(y.dtype.element_ty), mask=seen)


@triton.jit
def frame_attention(
    q, k, v, y, stride, cells, frames, heads, scale,
    SIZE: tl.constexpr, FRAMES: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Each cell of a clip attends through its frames, in place: q, k, v and y are (clips, frames, cells, heads · SIZE), and from one row of
    q, k and v to the next it is ``stride``."""
    program = tl.program_id(0).to(tl.int64)
    head = program % heads
    cell = (program // heads) % cells
    clip = program // heads // cells
    frame = tl.arange(0, FRAMES)
    number = tl.arange(0, WIDE)
    seen = (frame < frames)[:, None] & (number < SIZE)[None, :]
    row = (clip * frames + frame) * cells + cell
    place = row[:, None] * stride + head * SIZE + number[None, :]
    queries = tl.load(q + place, mask=seen, other=0.0)
    keys = tl.load(k + place, mask=seen, other=0.0)
    values = tl.load(v + place, mask=seen, other=0.0)
    scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
    scores = tl.where((frame < frames)[None, :], scores, float("-inf"))
    powers = tl.exp(scores - tl.max(scores, 1)[:, None])
    shares = powers / tl.sum(powers, 1)[:, None]
    out = tl.dot(shares.to(values.dtype), values, input_precision="ieee")
    tl.store(y + (row * heads + head)[:, None] * SIZE + number[None, :], out.to(y.dtype.element_ty), mask=seen)
