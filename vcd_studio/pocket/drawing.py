"""How the pocket world is drawn (skia). Subjects live in unit coordinates: x forward, y up, feet at (0, 0), a person 1 high."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import skia
from numpy.typing import NDArray

from vcd_studio.pocket.world import Colour, Identity, Picture, Shot

HEAD_OF_PERSON = (0.0, 0.77, 0.21)  # x, y, radius
LEAN = 0.2  # of a person who runs: forward per upward
DARK = (0.07, 0.06, 0.07)
WHITE = (0.98, 0.98, 0.98)
PERSON_HEIGHT = {"medium": 0.66, "far": 0.36, "close up": 1.55}  # of the picture
ANIMAL_HEIGHT = {"medium": 0.56, "far": 0.31, "close up": 1.25}
GROUND = {"medium": 0.90, "far": 0.80, "close up": 0.95}


def _paint(colour: Colour, stroke: float = 0.0) -> skia.Paint:
    red, green, blue = (round(255 * min(1.0, max(0.0, c))) for c in colour)
    paint = skia.Paint(Color=skia.Color(red, green, blue), AntiAlias=True)
    if stroke:
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(stroke)
        paint.setStrokeCap(skia.Paint.kRound_Cap)
    return paint


def _shade(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _pale(colour: Colour) -> Colour:
    return (0.45 + 0.55 * colour[0], 0.45 + 0.55 * colour[1], 0.45 + 0.55 * colour[2])


class Pen:
    """A few shapes in y-up unit coordinates on a skia canvas whose matrix is already set."""

    def __init__(self, canvas: skia.Canvas) -> None:
        self.canvas = canvas

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.canvas.drawCircle(x, y, radius, _paint(colour))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0.0) -> None:
        self.canvas.save()
        self.canvas.translate(x, y)
        self.canvas.rotate(turn)
        self.canvas.drawOval(skia.Rect.MakeLTRB(-rx, -ry, rx, ry), _paint(colour))
        self.canvas.restore()

    def line(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        path = skia.Path()
        path.moveTo(*points[0])
        for point in points[1:]:
            path.lineTo(*point)
        self.canvas.drawPath(path, _paint(colour, stroke=width))

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.canvas.drawPath(polygon(points), _paint(colour))

    def box(self, left: float, bottom: float, right: float, top: float, colour: Colour, round_by: float = 0.0) -> None:
        rect = skia.Rect.MakeLTRB(left, bottom, right, top)
        self.canvas.drawRoundRect(rect, round_by, round_by, _paint(colour))


def polygon(points: list[tuple[float, float]]) -> skia.Path:
    path = skia.Path()
    path.addPoly([skia.Point(x, y) for x, y in points], True)
    return path


# -- people -----------------------------------------------------------------------------------------------------------


def _draw_person(pen: Pen, who: Identity, action: str, cycle: float) -> tuple[float, float, float]:
    """Draw and return the head's place (x, y, radius) in unit coordinates."""
    lean = LEAN if action == "running" else 0.0
    pen.canvas.save()
    pen.canvas.skew(lean, 0)
    _draw_upright_person(pen, who, action, cycle)
    pen.canvas.restore()
    x, y, radius = HEAD_OF_PERSON
    return x + lean * y, y, radius


def _draw_upright_person(pen: Pen, who: Identity, action: str, cycle: float) -> None:
    swing = math.sin(2 * math.pi * cycle)
    reach = {"running": 0.19, "walking": 0.08}.get(action, 0.0)
    width = 0.115 + 0.05 * who.build
    hip, shoulder = 0.30, 0.55
    trousers, skin, shirt = who.lower, who.main, who.bright
    skirt = who.kind == "woman"

    leg = skin if skirt else trousers
    for side in (-1, 1):
        foot_x = side * 0.07 + side * reach * swing
        lift = reach * max(0.0, side * math.cos(2 * math.pi * cycle))
        if action == "jumping":
            foot_x, lift = side * 0.11, 0.03
        knee = (side * 0.065 + 0.6 * side * reach * swing + 0.04 * (reach > 0.1), 0.16 + 0.5 * lift)
        pen.line([(side * 0.065, hip), knee, (foot_x, 0.03 + lift)], 0.095, leg)
        pen.oval(foot_x + 0.025, 0.025 + lift, 0.065, 0.035, DARK)
    if skirt:
        flare = 0.20 + 0.02 * swing * (reach > 0)
        pen.shape([(-width * 0.8, 0.42), (width * 0.8, 0.42), (flare, 0.17), (-flare, 0.17)], trousers)

    def arm(side: int, hand: tuple[float, float]) -> None:
        elbow = ((side * width + hand[0]) / 2 + side * 0.02, (shoulder + hand[1]) / 2)
        pen.line([(side * width, shoulder - 0.02), elbow, hand], 0.085, _shade(shirt, 0.82))
        pen.disc(hand[0], hand[1], 0.045, skin)

    def hand_of(side: int) -> tuple[float, float]:
        if action == "jumping":
            return (side * 0.27, 0.74)
        if action == "waving" and side == 1:
            return (0.29 + 0.08 * swing, 0.80)
        return (side * (width + 0.06) - side * 1.1 * reach * swing, 0.31 + 0.4 * abs(reach * swing))

    arm(-1, hand_of(-1))
    if who.hair_style == "long":
        pen.box(-0.215, 0.50, 0.215, 0.86, who.second, 0.1)
    pen.box(-width, hip - 0.01, width, 0.60, shirt, 0.07)
    arm(1, hand_of(1))
    _draw_head(pen, who)


def _draw_head(pen: Pen, who: Identity) -> None:
    x, y, r = HEAD_OF_PERSON
    skin, hair = who.main, who.second
    if who.hair_style == "bun":
        pen.disc(x - 0.10, y + 0.20, 0.10, hair)
    if who.hair_style == "curly":
        for angle in range(-52, 244, 32) if who.kind == "woman" else range(-20, 230, 32):
            pen.disc(x + 0.19 * math.cos(math.radians(angle)), y + 0.17 * math.sin(math.radians(angle)), 0.085, hair)
    pen.disc(x, y, r, skin)
    if who.beard:
        pen.canvas.save()
        pen.canvas.clipPath(skia.Path.Circle(x, y, r * 1.03), True)
        pen.box(x - r, y - r * 1.1, x + r * 1.1, y - 0.045, hair)
        pen.canvas.restore()
        pen.oval(x + 0.06, y - 0.095, 0.05, 0.018, (0.75, 0.3, 0.3))
    else:
        lips = (0.085, 0.034, (0.88, 0.10, 0.22)) if who.kind == "woman" else (0.06, 0.018, (0.5, 0.22, 0.2))
        pen.oval(x + 0.06, y - 0.105, *lips)
    if who.hair_style != "bald":
        pen.canvas.save()
        pen.canvas.clipPath(skia.Path.Circle(x, y, r * 1.06), True)
        fringe = [(-0.3, -0.02), (-0.13, 0.02), (-0.06, 0.10), (0.3, 0.10), (0.3, 0.3), (-0.3, 0.3)]
        pen.shape([(x + dx, y + dy) for dx, dy in fringe], hair)
        pen.canvas.restore()
    if who.glasses:
        pen.line([(x - r, y + 0.035), (x + 0.2, y + 0.035)], 0.035, DARK)
    for eye in (x - 0.01, x + 0.145):
        pen.disc(eye, y + 0.025, 0.078 if who.glasses else 0.027, DARK)
        if who.glasses:
            pen.oval(eye, y + 0.03, 0.042, 0.036, (0.35, 0.62, 0.78))
    _draw_hat(pen, who, (x, y, r))


def _draw_hat(pen: Pen, who: Identity, head: tuple[float, float, float]) -> None:
    """A cap is low with a long peak, a top hat tall with a brim, a beanie has a light band and bobble: to be told apart at 20 pixels."""
    x, y, r = head
    hat, light = who.hat_colour, _pale(who.hat_colour)
    if who.hat == "cap":
        pen.canvas.save()
        pen.canvas.clipPath(polygon([(x - 0.4, y + 0.09), (x + 0.4, y + 0.09), (x + 0.4, y + 0.5), (x - 0.4, y + 0.5)]), True)
        pen.disc(x, y + 0.02, r * 1.06, hat)
        pen.canvas.restore()
        pen.box(x + 0.0, y + 0.06, x + 0.42, y + 0.135, hat, 0.03)
    elif who.hat == "top hat":
        pen.box(x - 0.31, y + 0.10, x + 0.31, y + 0.165, hat, 0.02)
        pen.box(x - 0.16, y + 0.13, x + 0.16, y + 0.45, hat, 0.02)
        pen.box(x - 0.16, y + 0.165, x + 0.16, y + 0.225, _shade(hat, 0.5))
    elif who.hat == "beanie":
        pen.disc(x, y + 0.34, 0.085, light)
        pen.canvas.save()
        pen.canvas.clipPath(polygon([(x - 0.4, y + 0.08), (x + 0.4, y + 0.08), (x + 0.4, y + 0.5), (x - 0.4, y + 0.5)]), True)
        pen.oval(x, y + 0.06, r * 1.07, r * 1.08, hat)
        pen.canvas.restore()
        pen.box(x - r * 1.12, y + 0.065, x + r * 1.12, y + 0.135, light, 0.03)


# -- animals ----------------------------------------------------------------------------------------------------------


def _draw_animal(pen: Pen, who: Identity, action: str, cycle: float) -> tuple[float, float, float]:
    """Draw and return the head's place (x, y, radius) in unit coordinates."""
    swing = math.sin(2 * math.pi * cycle)
    sitting = action == "sitting"
    leg_length = 0.20 + 0.16 * who.legs
    thickness = 0.15 + 0.05 * who.build
    middle = leg_length + thickness * 0.8
    fur, dark = who.main, _shade(who.main, 0.78)
    running = action == "running"
    reach = {"running": 0.23, "walking": 0.08}.get(action, 0.0)

    def tail(root: tuple[float, float]) -> None:
        wag = (0.13 if sitting else 0.06) * swing
        tip = (root[0] - 0.22, root[1] + 0.20 + wag) if who.kind == "dog" else (root[0] - 0.17 + wag, root[1] + 0.34)
        bend = (root[0] - 0.17, root[1] + 0.05 + wag / 2)
        if running:  # it streams behind
            tip, bend = (root[0] - 0.34, root[1] + 0.02 + wag), (root[0] - 0.17, root[1] + 0.03 + wag / 2)
        pen.line([root, bend, tip], 0.075 if who.kind == "dog" else 0.055, fur)

    def legs(near: bool) -> None:
        for place, sign in ((-0.27, 1), (0.25, -1)):
            shift = (0.045 if near else -0.045) + place
            stride = reach * swing * sign * (1 if near else -1)
            lift = 0.25 * reach * max(0.0, math.cos(2 * math.pi * cycle) * sign * (1 if near else -1))
            foot = (shift + stride, 0.04 + lift)
            if action == "jumping":
                foot = (shift + (0.17 if place > 0 else -0.17), 0.10)
            pen.line([(shift, middle - 0.05), foot], 0.10, fur if near else dark)

    body = skia.Path()
    body.addOval(skia.Rect.MakeLTRB(-0.40, -thickness, 0.38, thickness))
    if sitting:
        pen.line([(0.16, 0.40), (0.20, 0.04)], 0.10, dark)
        tail((-0.24, 0.12))
        _draw_body(pen, who, body, (-0.04, 0.30), 55.0)
        pen.oval(-0.17, 0.13, 0.17, 0.13, fur)
        pen.line([(0.10, 0.40), (0.12, 0.04)], 0.10, fur)
        neck = (0.12, 0.52)
    else:
        legs(near=False)
        tail((-0.36, middle + 0.04))
        tilt = 14.0 if action == "jumping" else 3.0 * swing * (reach > 0.1)
        _draw_body(pen, who, body, (0.0, middle), tilt)
        legs(near=True)
        neck = (0.30, middle + 0.09 + (0.05 if action == "jumping" else 0.0))
        if running:  # the head low and far forward
            neck = (0.37, middle + 0.01)
    head = (neck[0] + 0.10, neck[1] + 0.19 + 0.012 * swing, 0.205)
    pen.line([neck, (head[0] - 0.02, head[1] - 0.05)], 0.20, fur)
    if who.collar:
        turns = [math.radians(degrees) for degrees in range(195, 286, 15)]  # along the head's edge, from nape to throat
        pen.line([(head[0] + 0.225 * math.cos(turn), head[1] + 0.225 * math.sin(turn)) for turn in turns], 0.125, who.bright)
    _draw_animal_head(pen, who, head)
    return head


def _draw_body(pen: Pen, who: Identity, body: skia.Path, centre: tuple[float, float], turn: float) -> None:
    pen.canvas.save()
    pen.canvas.translate(*centre)
    pen.canvas.rotate(turn)
    pen.canvas.drawPath(body, _paint(who.main))
    pen.canvas.clipPath(body, True)
    if who.pattern == "spots":
        for x, y, r in ((-0.29, 0.02, 0.092), (-0.12, -0.09, 0.088), (-0.04, 0.11, 0.092), (0.13, -0.05, 0.092), (0.28, 0.06, 0.08)):
            pen.disc(x, y, r, who.second)
    elif who.pattern == "stripes":
        for x in (-0.29, -0.10, 0.09, 0.28):
            pen.line([(x - 0.03, -0.3), (x + 0.03, 0.3)], 0.085, who.second)
    elif who.pattern == "patch":
        pen.oval(-0.10, 0.08, 0.21, 0.17, who.second)
    pen.canvas.restore()


def _draw_animal_head(pen: Pen, who: Identity, head: tuple[float, float, float]) -> None:
    x, y, r = head
    fur = who.main
    if who.kind == "cat":
        for root in (-0.11, 0.09):
            height = 0.17 + 0.13 * who.ears
            pen.shape([(x + root - 0.095, y + 0.10), (x + root + 0.095, y + 0.10), (x + root, y + 0.14 + height)], fur)
            pen.shape([(x + root - 0.045, y + 0.13), (x + root + 0.045, y + 0.13), (x + root, y + 0.10 + height)], (0.95, 0.62, 0.66))
    elif who.ears > 0.5:
        height = 0.16 + 0.24 * (who.ears - 0.5)
        for root in (-0.13, 0.02):
            pen.shape([(x + root - 0.075, y + 0.10), (x + root + 0.085, y + 0.13), (x + root - 0.04, y + 0.15 + height)], _shade(fur, 0.75))
    pen.disc(x, y, r, fur)
    if who.pattern == "patch":
        pen.disc(x + 0.06, y + 0.04, 0.10, who.second)
    if who.kind == "dog":
        length = 0.09 + 0.12 * who.snout
        pen.oval(x + 0.13 + length / 2, y - 0.065, 0.08 + length / 2, 0.085, fur)
        pen.disc(x + 0.17 + length, y - 0.035, 0.052, DARK)
        if who.ears <= 0.5:
            pen.oval(x - 0.12, y - 0.03, 0.08, 0.14 + 0.16 * (0.5 - who.ears), _shade(fur, 0.68), -12)
    else:
        pen.oval(x + 0.12, y - 0.07, 0.095, 0.07, _shade(fur, 1.12) if sum(fur) < 2.4 else _shade(fur, 0.9))
        pen.disc(x + 0.18, y - 0.04, 0.032, (0.93, 0.45, 0.55))
    pen.disc(x + 0.08, y + 0.05, 0.058, WHITE)
    pen.disc(x + 0.095, y + 0.05, 0.036, DARK if who.kind == "dog" else (0.12, 0.38, 0.16))


# -- scenes -----------------------------------------------------------------------------------------------------------


def _rows(size: float, horizon: float, pen: Pen, sky: Colour, ground: Colour) -> None:
    pen.box(0, 0, size, size, sky)
    pen.box(0, horizon * size, size, size, ground)


def _repeat(shift: float, step: float, rng: np.random.Generator) -> list[tuple[float, NDArray[np.float64]]]:
    """Places along an endless row that scrolls by ``shift``, each with four numbers of its own that stay with it."""
    count = 8
    numbers = rng.random((count, 4))
    return [(((index * step - shift) % (count * step)) - 2 * step, numbers[index]) for index in range(count)]


def _draw_scene(canvas: skia.Canvas, scene: str, size: int, scroll: float, time: float, seed: int) -> None:
    """Backgrounds in picture coordinates 0..1, y down; ``scroll`` is the camera's travel (far things move less)."""
    rng = np.random.default_rng(seed)
    canvas.save()
    canvas.scale(size, size)
    pen = Pen(canvas)
    horizon = 0.56 + 0.08 * float(rng.random())
    {
        "snow": _snow, "beach": _beach, "forest": _forest, "desert": _desert, "city": _city, "grass": _grass, "studio": _studio,
    }[scene](pen, horizon, scroll, time, rng)  # fmt: skip
    canvas.restore()


def _snow(pen: Pen, horizon: float, scroll: float, time: float, rng: np.random.Generator) -> None:
    _rows(1, horizon, pen, (0.76, 0.83, 0.90), (0.94, 0.96, 0.99))
    for x, n in _repeat(scroll * 0.3, 0.32, rng):
        top = horizon - 0.12 - 0.16 * n[0]
        pen.shape([(x - 0.2, horizon), (x + 0.2, horizon), (x, top)], (0.55, 0.62, 0.72))
        pen.shape([(x - 0.06, top + 0.06), (x + 0.06, top + 0.06), (x, top)], WHITE)
    flakes = rng.random((16, 3))
    for fx, fy, speed in flakes:
        pen.disc((fx - scroll * 0.8) % 1, (fy + time * (0.15 + 0.15 * speed)) % 1, 0.011, WHITE)


def _beach(pen: Pen, horizon: float, scroll: float, time: float, rng: np.random.Generator) -> None:
    pen.box(0, 0, 1, 1, (0.62, 0.86, 0.96))
    pen.disc(0.15 + 0.7 * float(rng.random()), 0.13, 0.09, (1.0, 0.88, 0.36))
    pen.box(0, horizon - 0.14, 1, horizon + 0.02, (0.13, 0.47, 0.74))
    for x, n in _repeat(scroll * 0.5 - time * 0.04, 0.25, rng):
        y = horizon - 0.11 + 0.10 * n[0]
        pen.line([(x, y), (x + 0.09, y)], 0.014, (0.75, 0.90, 0.97))
    pen.box(0, horizon, 1, 1, (0.92, 0.82, 0.58))


def _forest(pen: Pen, horizon: float, scroll: float, time: float, rng: np.random.Generator) -> None:
    _rows(1, horizon, pen, (0.45, 0.60, 0.46), (0.25, 0.40, 0.19))
    for x, n in _repeat(scroll * 0.5, 0.21, rng):
        height, base = 0.32 + 0.22 * n[0], horizon + 0.05
        pen.box(x - 0.02, base - 0.1, x + 0.02, base + 0.02, (0.36, 0.22, 0.12))
        green = (0.08 + 0.06 * n[1], 0.32 + 0.10 * n[1], 0.16)
        top = (x + 0.01 * math.sin(3 * time + 9 * n[2]), base - 0.06 - height)
        pen.shape([(x - 0.13, base - 0.06), (x + 0.13, base - 0.06), top], green)


def _desert(pen: Pen, horizon: float, scroll: float, time: float, rng: np.random.Generator) -> None:
    _rows(1, horizon, pen, (0.98, 0.76, 0.56), (0.80, 0.57, 0.31))
    for x, n in _repeat(scroll * 0.6, 0.36, rng):
        if n[0] < 0.75:
            green, base = (0.18, 0.50, 0.24), horizon + 0.04
            pen.line([(x, base), (x, base - 0.17)], 0.045, green)
            pen.line([(x, base - 0.07), (x - 0.06, base - 0.07), (x - 0.06, base - 0.13)], 0.032, green)
            pen.line([(x, base - 0.05), (x + 0.06, base - 0.05), (x + 0.06, base - 0.11)], 0.032, green)


def _city(pen: Pen, horizon: float, scroll: float, time: float, rng: np.random.Generator) -> None:
    _rows(1, horizon, pen, (0.08, 0.07, 0.17), (0.24, 0.24, 0.27))
    for x, n in _repeat(scroll * 0.4, 0.20, rng):
        top = horizon - 0.18 - 0.30 * n[0]
        pen.box(x - 0.085, top, x + 0.085, horizon, (0.18, 0.17, 0.27))
        for row in range(4):
            for column in (-0.045, 0.02):
                if math.sin(50 * n[1] + 7 * row + 90 * column) > -0.2 and top + 0.04 + row * 0.09 < horizon - 0.03:
                    y = top + 0.035 + row * 0.09
                    pen.box(x + column, y, x + column + 0.035, y + 0.04, (0.97, 0.87, 0.42))


def _grass(pen: Pen, horizon: float, scroll: float, time: float, rng: np.random.Generator) -> None:
    _rows(1, horizon, pen, (0.56, 0.82, 0.98), (0.32, 0.70, 0.22))
    for x, n in _repeat(scroll * 0.2 + time * 0.02, 0.34, rng):
        y = 0.08 + 0.22 * n[0]
        pen.oval(x, y, 0.11, 0.04, WHITE)
        pen.oval(x + 0.05, y - 0.025, 0.07, 0.04, WHITE)
    for x, n in _repeat(scroll, 0.17, rng):
        pen.disc(x, horizon + 0.08 + 0.32 * n[0], 0.014, (0.98, 0.85, 0.3) if n[1] < 0.5 else (0.95, 0.5, 0.6))


def _studio(pen: Pen, horizon: float, scroll: float, time: float, rng: np.random.Generator) -> None:
    tone = 0.5 if rng.random() < 0.5 else 0.35 + 0.5 * float(rng.random())
    pen.box(0, 0, 1, 1, (tone, tone, tone))


# -- one picture ------------------------------------------------------------------------------------------------------


def draw(identity: Identity, shot: Shot, time: float, size: int) -> Picture:
    """See :func:`vcd_studio.pocket.world.render`."""
    animal = identity.is_animal
    cycle = shot.phase + time * shot.pace * {"running": 2.0, "walking": 1.2, "jumping": 0.8, "waving": 1.5, "sitting": 1.0}[shot.action]
    scale = (ANIMAL_HEIGHT if animal else PERSON_HEIGHT)[shot.framing] * shot.size
    bounce = {"running": 0.05 * abs(math.sin(2 * math.pi * cycle)), "jumping": 0.30 * abs(math.sin(math.pi * cycle))}.get(shot.action, 0.0)

    # The camera keeps up with a running subject; what the subject does not travel in the picture, the background does.
    pace = {"running": 0.75, "walking": 0.32}.get(shot.action, 0.0) * shot.facing
    scroll = (pace - shot.drift) * time * (0.5 + 0.5 * scale)

    x = shot.x + shot.drift * time
    ground = GROUND[shot.framing] + 0.03 * (shot.size - 1)
    draw_subject: Callable[[Pen], tuple[float, float, float]]
    if animal:
        def draw_subject(pen: Pen) -> tuple[float, float, float]:
            return _draw_animal(pen, identity, shot.action, cycle)
    else:
        def draw_subject(pen: Pen) -> tuple[float, float, float]:
            return _draw_person(pen, identity, shot.action, cycle)

    stand_x, stand_y = x, ground - bounce * scale
    if shot.framing == "close up":  # the head in the middle of the picture, a little bounce left
        head_x, head_y = (0.42, 0.66) if animal else (0.0, 0.80)
        if shot.action == "sitting":
            head_x, head_y = 0.22, 0.71
        if shot.action == "running":
            head_x, head_y = (0.49, 0.58) if animal else (LEAN * HEAD_OF_PERSON[1], 0.80)
        stand_x = x - (head_x - (0.04 if animal else 0.0)) * scale * shot.facing
        stand_y = 0.50 + head_y * scale - 0.25 * bounce * scale

    subject = skia.Surface(size, size)
    canvas = subject.getCanvas()
    canvas.clear(skia.ColorTRANSPARENT)
    canvas.scale(size, size)
    canvas.translate(stand_x, stand_y)
    canvas.scale(scale * shot.facing, -scale)
    head = draw_subject(Pen(canvas))

    whole = skia.Surface(size, size)
    _draw_scene(whole.getCanvas(), shot.scene, size, scroll, time, shot.seed)
    whole.getCanvas().drawImage(subject.makeImageSnapshot(), 0, 0)

    image = np.ascontiguousarray(whole.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)[:, :, :3])
    mask = np.ascontiguousarray(subject.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)[:, :, 3])
    centre_x = (stand_x + head[0] * scale * shot.facing) * size
    centre_y = (stand_y - head[1] * scale) * size
    radius = head[2] * scale * size
    face = (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius)
    return Picture(image, mask, _box_of(mask), _clip_box(face, size))


def draw_scene(shot: Shot, size: int) -> NDArray[np.uint8]:
    """The scene of ``shot`` with nobody in it, as (size, size, 3)."""
    surface = skia.Surface(size, size)
    _draw_scene(surface.getCanvas(), shot.scene, size, 0.0, 0.0, shot.seed)
    return np.ascontiguousarray(surface.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)[:, :, :3])


def _box_of(mask: NDArray[np.uint8]) -> tuple[float, float, float, float] | None:
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _clip_box(box: tuple[float, float, float, float], size: int) -> tuple[float, float, float, float] | None:
    """The part of ``box`` inside the picture; None where less than half of it is."""
    left, top, right, bottom = (min(max(v, 0.0), float(size)) for v in box)
    if (right - left) * (bottom - top) < 0.5 * (box[2] - box[0]) * (box[3] - box[1]):
        return None
    return left, top, right, bottom
