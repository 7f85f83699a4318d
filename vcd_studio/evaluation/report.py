"""A study's report: tables in the paper's shape beside the paper's own numbers, plots of the sweeps, sheets of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vcd_studio.evaluation.plan import PAPER, PROMPTS, STAGE_SWEEPS, STAGE_USUAL, SWEEPS, TABLE, VCD, VCD_ARM, Plan, slug_of
from vcd_studio.evaluation.statistics import Cells, Interval, difference, interval
from vcd_studio.evaluation.study import Study
from vcd_studio.media.sheet import contact_sheet

Row = Mapping[str, Any]

COLUMNS = {
    "dino": "DINO", "clip_i": "CLIP-I", "clip_t": "CLIP-T", "dino_temporal": "DINO temporal", "clip_temporal": "CLIP temporal",
    "motion": "motion", "identity": "identity (oracle)", "recognised": "recognised", "scene": "scene right", "action": "action right",
}  # fmt: skip
OTHERS = {"surety": "surety", "head": "head (oracle)", "colour_error": "colour and shape error", "seam": "seam score"}
PAPER_COLUMNS = ("dino", "clip_i", "clip_t", "dino_temporal", "clip_temporal")


def cells(rows: Iterable[Row], arm: str, figure: str) -> dict[tuple[str, tuple[int, int]], float]:
    """What ``figure`` was for ``arm`` (its slug), clip by clip."""
    return {
        (row["subject"], (row["prompt"], row["seed"])): float(row[figure])
        for row in rows
        if row["arm"] == arm and row.get(figure) is not None
    }


def write_report(study: Study, out: Path) -> Path:
    """Write ``out/README.md`` with its pictures and return it."""
    out.mkdir(parents=True, exist_ok=True)
    rows = list(study.rows())
    lines = ["# What VCD does in the pocket world", "", *_about(study), ""]
    if followed := list(study.followed()):
        lines += ["## Does the pack draw what it is asked", "", *_following(followed), ""]
    lines += ["## The paper's table", "", *_table(rows), "", *_claims(rows), ""]
    if (key := _blind(study, out)) is not None:
        lines += ["## Would a stranger match them", "", "![photos 1 to 8, clips A to H](blind.png)", ""]
        lines += ["Above, a photo of each identity; below, a frame of a VCD clip of each, in an order drawn by lot. The key: " + key, ""]
    if sheet := _sheet(study, out):
        lines += ["## Side by side", "", *sheet, ""]
    if defaults := _defaults(rows):
        lines += ["## What decides the defaults", "", *defaults, ""]
    lines += _swept(rows, SWEEPS, out)
    if costs := _costs(rows):
        lines += ["## What savers of time cost", "", *costs, ""]
    if any(row["arm"] == "stage-t2v" for row in rows):
        lines += ["## Face and Tiled, on distant subjects", "", *_stages(rows), ""]
    lines += _swept(rows, STAGE_SWEEPS, out)
    path = out / "README.md"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def _swept(rows: Sequence[Row], axes: Iterable[str], out: Path) -> list[str]:
    """A section for each axis on which anything was measured: plot and table."""
    lines: list[str] = []
    for axis in axes:
        if any(row["axis"] == axis for row in rows):
            lines += [f"## {axis[0].upper()}{axis[1:]}", "", f"![{axis}]({_plot(rows, axis, out)})", "", *_sweep_table(rows, axis), ""]
    return lines


def _about(study: Study) -> list[str]:
    plan, pending, total = study.plan, len(study.pending()), len(study.units())
    left = f"; {pending} of {total} clips are still to be made" if pending else ""
    swept = min(plan.subjects, plan.sweep_subjects)
    return [
        f"Made by `{_command(plan)}`{left}. {plan.subjects} held-out identities ({swept} in the sweeps) "
        f"× {len(PROMPTS)} prompts × {_seeds(plan.seeds)} ({plan.picture_seeds} where single pictures are read), {plan.steps} DDIM steps, "
        f"guidance {plan.guidance}, pack `{plan.pack}`{', bf16' if plan.half else ''}.",
        "Means with bootstrap 95 % intervals, resampled by identity; differences are paired (same identity, prompt and seed).",
        f"CLIP is {plan.clip}, DINO {plan.dino}."
        if plan.clip and plan.dino
        else "CLIP and DINO are pocket's own small networks, so their numbers stand beside the paper's for their order alone.",
        "VCD is as this studio trains it unasked: photos as they are, captions that say which are close ups, tokens that begin at the "
        "noun; its rivals see the same views and captions as often. "
        "As it was released, photos are augmented: that is *augmentation* on, below.",
        "*identity* is the share of what makes an individual (colours, pattern, hair, clothes …) that the oracle reads off the clip; "
        "*recognised* the share of clips that look to it more like their own identity than like any other of the study.",
    ]


def _command(plan: Plan) -> str:
    """What one types for ``plan``, but for its folder."""
    usual = Plan()
    options = [f"--{name} {value}" for name in ("subjects", "seeds", "steps") if (value := getattr(plan, name)) != getattr(usual, name)]
    options += [f"--only {','.join(plan.only)}"] if plan.only else []
    options += [f"--{name} {value}" for name in ("clip", "dino") if (value := getattr(plan, name))]
    return " ".join(["vcd-studio evaluate", *options, *(["--half"] if plan.half else [])])


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


TARGETS = {"scene": 0.95, "kind": 0.95, "action": 0.8}
"""Shares of captions; every other named attribute: 0.8."""


def _following(followed: Sequence[Mapping[str, bool | None]]) -> list[str]:
    lines = [f"The oracle reads {len(followed)} clips of captions of held-out identities (7 in 10 medium shots, 3 close ups)."]
    lines += ["What it does not read off a caption's true clip (a black collar on a black dog) is left out: *legible* counts the rest.", ""]
    lines += ["| said in the caption | times | legible | right | wanted |", "|---|---|---|---|---|"]
    for question in sorted({question for told in followed for question in told}, key=lambda q: (q not in TARGETS, q)):
        said = [told[question] for told in followed if question in told]
        found = {(index, 0): float(right) for index, right in enumerate(said) if right is not None}
        right = interval(found) if found else "–"
        lines.append(f"| {question} | {len(said)} | {len(found)} | {right} | {TARGETS.get(question, 0.8):.2f} |")
    return lines


def _table(rows: Sequence[Row]) -> list[str]:
    lines = ["| arm | identities | " + " | ".join(COLUMNS.values()) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    for arm in TABLE:
        figures = {figure: cells(rows, arm.slug, figure) for figure in COLUMNS}
        if any(figures.values()):
            whom = {subject for found in figures.values() for subject, _ in found}
            lines.append(f"| {arm.name} | {len(whom)} | " + " | ".join(str(interval(c)) if c else "–" for c in figures.values()) + " |")
        if arm.name in PAPER:
            paper = dict(zip(PAPER_COLUMNS, PAPER[arm.name], strict=True))
            lines.append("| *its paper's* | | " + " | ".join(f"*{paper[f]:.3f}*" if f in paper else "" for f in COLUMNS) + " |")
    return lines


SHARED = "mask-shared-background"
CLAIMS = (
    ("ID tokens carry identity: VCD over the class noun", "vcd", "base-animatediff", "identity"),
    ("four masked tokens over one unmasked", "vcd", "textual-inversion", "identity"),
    ("VCD over LoRA", "vcd", "lora", "identity"),
    ("VCD over DreamBooth", "vcd", "dreambooth", "identity"),
    ("VCD over Custom Diffusion", "vcd", "custom-diffusion", "identity"),
    ("VCD keeps to the text as well as the base", "vcd", "base-animatediff", "clip_t"),
    ("γ 0.15 is steadier than 0", "vcd", "vcd-without-noise-prior", "dino_temporal"),
    ("γ 0.15 is steadier than 0", "vcd", "vcd-without-noise-prior", "clip_temporal"),
    ("γ 0.15 at equal text", "vcd", "vcd-without-noise-prior", "clip_t"),
    ("γ 0.15 moves less", "vcd", "vcd-without-noise-prior", "motion"),
    ("masked over unmasked, photos with one background", f"{SHARED}-masked", f"{SHARED}-unmasked", "identity"),
    ("masked draws the prompt's scene there, not the photos'", f"{SHARED}-masked", f"{SHARED}-unmasked", "scene"),
    ("Face raises what is read off distant heads", "stage-face", "stage-t2v", "head"),
    ("Tiled raises identity over upscaling alone", "stage-tiled", "stage-upscaled", "identity"),
)
"""(claim, arm, other arm, figure): whether the first arm's figure is above the second's."""


def _claims(rows: Sequence[Row]) -> list[str]:
    lines = ["| claim | figure | difference | holds |", "|---|---|---|---|"]
    for claim, arm, other, figure in CLAIMS:
        a, b = cells(rows, arm, figure), cells(rows, other, figure)
        if any(cell in b for cell in a):
            known = difference(a, b)
            lines.append(f"| {claim} | {(COLUMNS | OTHERS).get(figure, figure)} | {_signed(known)} | {_verdict(known)} |")
    return lines if len(lines) > 2 else []


COSTS = ("identity", "clip_i", "clip_t", "dino", "dino_temporal", "clip_temporal", "motion")
DECIDES = {"gamma": "dino_temporal", "face": "head", "tile": "surety", "mask, shared background": "scene"}
"""The figure that decides a setting, by its axis or the stage it belongs to; elsewhere identity by the oracle."""


def _usual(axis: str) -> str | None:
    """The slug of the arm on ``axis`` that is VCD as the table has it; None where VCD itself is not on it."""
    if axis in STAGE_USUAL:
        return slug_of(f"{axis} {STAGE_USUAL[axis]}")
    learnt_as_usual = (arm for arm in SWEEPS[axis] if replace(arm.learning, shared_background=False) == VCD)
    return next((arm.slug for arm in learnt_as_usual if arm.gamma == VCD_ARM.gamma), None)


def _defaults(rows: Sequence[Row]) -> list[str]:
    """For every setting that was swept: what the study has otherwise against each other value, on the same clips."""
    lines = ["| setting | in the study | other | figure | the study's − other | the study's is |", "|---|---|---|---|---|---|"]
    for axis in (*SWEEPS, *STAGE_SWEEPS):
        figure = DECIDES.get(axis) or DECIDES.get(axis.partition(" ")[0], "identity")
        values = dict(_arms_of(rows, axis))
        usual = _usual(axis)
        if usual is None:
            continue
        ours = cells(rows, usual, figure)
        for slug, value in values.items():
            theirs = cells(rows, slug, figure)
            if slug != usual and any(cell in theirs for cell in ours):
                known = difference(ours, theirs)
                told = (COLUMNS | OTHERS)[figure]
                lines.append(f"| {axis} | {values[usual]} | {value} | {told} | {_signed(known)} | {_verdict(known)} |")
    return lines if len(lines) > 2 else []


def _costs(rows: Sequence[Row]) -> list[str]:
    """Every saver's clips against the same clips without it."""
    plain = slug_of("savers none")
    without = {figure: cells(rows, plain, figure) for figure in COSTS}
    lines = [f"| saver − none | {' | '.join(COLUMNS[figure] for figure in COSTS)} |", "|---|" + "---|" * len(COSTS)]
    for slug, value in _arms_of(rows, "savers"):
        pairs = [(cells(rows, slug, figure), without[figure]) for figure in COSTS]
        if slug != plain and any(cell in without["identity"] for cell in pairs[0][0]):
            lines.append(f"| {value} | {' | '.join(_signed(difference(*pair)) for pair in pairs)} |")
    return lines if len(lines) > 2 else []


def _verdict(known: Interval) -> str:
    return {True: "higher", False: "lower", None: "no difference seen"}[known.above_zero]


def _signed(known: Interval) -> str:
    return f"{known.mean:+.3f} [{known.low:+.3f}, {known.high:+.3f}]"


def _arms_of(rows: Sequence[Row], axis: str) -> list[tuple[str, Any]]:
    """(slug, value) of each arm on ``axis`` that was measured, in the plan's order."""
    present = {row["arm"] for row in rows}
    planned = [(arm.slug, arm.value) for arm in SWEEPS.get(axis, ())] or [(slug_of(f"{axis} {v}"), v) for v in STAGE_SWEEPS[axis]]
    return [(slug, value) for slug, value in planned if slug in present]


def _figures_of(rows: Sequence[Row], axis: str) -> list[str]:
    if axis.startswith("face"):
        return ["identity", "head", "clip_i", "dino_temporal"]
    if axis.startswith("tile"):
        return ["identity", "surety", "seam", "dino_temporal"]
    first = next(row for row in rows if row["axis"] == axis)
    return ["identity", "clip_t", "dino_temporal", "motion"] if "motion" in first else ["identity", "colour_error", "clip_t", "scene"]


def _shared(rows: Sequence[Row], axis: str, figure: str) -> dict[str, Cells]:
    """``figure`` of each arm on ``axis``, by slug, over the clips that all of them have: the table's own arms have more than a sweep's."""
    found = {slug: cells(rows, slug, figure) for slug, _ in _arms_of(rows, axis)}
    every = set.intersection(*(set(told) for told in found.values()))
    return {slug: {cell: told[cell] for cell in told if cell in every} for slug, told in found.items()}


def _sweep_table(rows: Sequence[Row], axis: str) -> list[str]:
    figures = _figures_of(rows, axis)
    shared = {figure: _shared(rows, axis, figure) for figure in figures}
    lines = [f"| {axis} | " + " | ".join((COLUMNS | OTHERS).get(f, f) for f in figures) + " |", "|---|" + "---|" * len(figures)]
    for slug, value in _arms_of(rows, axis):
        told = [interval(found) if (found := shared[figure][slug]) else None for figure in figures]
        lines.append(f"| {value} | " + " | ".join(map(str, told)) + " |")
    return lines


def _plot(rows: Sequence[Row], axis: str, out: Path) -> str:
    """One small plot a figure, with intervals; an SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "vcd-studio", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot

    figures, arms = _figures_of(rows, axis), _arms_of(rows, axis)
    drawing, panels = pyplot.subplots(1, len(figures), figsize=(2.6 * len(figures), 2.3), layout="constrained")
    for panel, figure in zip(panels, figures, strict=True):
        told = [interval(found) for found in _shared(rows, axis, figure).values()]
        means = np.array([known.mean for known in told])
        bars = np.array([[known.mean - known.low for known in told], [known.high - known.mean for known in told]])
        panel.errorbar(range(len(arms)), means, bars, marker="o", markersize=4, capsize=2, color="#c2410c", linewidth=1.2)
        panel.set_xticks(range(len(arms)), [str(value) for _, value in arms])
        panel.set_title((COLUMNS | OTHERS).get(figure, figure), fontsize=9)
        panel.margins(x=0.12, y=0.15)
    name = "".join(c if c.isalnum() else "-" for c in axis) + ".svg"
    drawing.savefig(out / name, metadata={"Date": None})
    pyplot.close(drawing)
    return name


def _stages(rows: Sequence[Row]) -> list[str]:
    lines = ["| stage | identity (oracle) | head (oracle) | surety | CLIP-T |", "|---|---|---|---|---|"]
    for stage in ("t2v", "face", "upscaled", "tiled"):
        told: list[Cells] = [cells(rows, f"stage-{stage}", figure) for figure in ("identity", "head", "surety", "clip_t")]
        if all(told):
            lines.append(f"| {stage} | " + " | ".join(str(interval(found)) for found in told) + " |")
    if found := cells(rows, "stage-tiled", "seam"):
        lines += ["", f"Seam score of Tiled: {interval(found)} (1: no seam to be seen)."]
    return lines


def _blind(study: Study, out: Path) -> str | None:
    """``blind.png``: numbered photos over lettered clips in another order. The key, as text; None where there are no clips of all."""
    made = [study.clip("vcd", subject.name, 4, 0) for subject in study.subjects]
    clips = [clip for clip in made if clip is not None]
    if len(clips) < len(made) or len(made) < 2:
        return None
    order = np.random.default_rng(len(made)).permutation(len(made))
    photos = [np.asarray(subject.photos[1].image.resize((64, 64), Image.Resampling.BOX)) for subject in study.subjects]
    shown = [clips[index][len(clips[index]) // 2] for index in order]
    columns = len(made)
    contact_sheet([*photos, *shown], columns, columns * 130).save(out / "blind.png", optimize=True)
    return ", ".join(f"{chr(ord('A') + place)} is {index + 1}" for place, index in enumerate(order)) + "."


def _sheet(study: Study, out: Path) -> list[str]:
    """A row an identity: two photos, then a middle frame of the first prompt by each arm; grey where an arm has no clip of it."""
    made = {arm.name: [study.clip(arm.slug, subject.name, 0, 0) for subject in study.subjects] for arm in TABLE}
    shown = {name: clips for name, clips in made.items() if any(clip is not None for clip in clips)}
    if not shown:
        return []
    pictures: list[Any] = []
    for index, subject in enumerate(study.subjects):
        pictures += [np.asarray(photo.image.resize((64, 64), Image.Resampling.BOX)) for photo in subject.photos[:2]]
        for clips in shown.values():
            clip = clips[index]
            pictures.append(np.full((64, 64, 3), 128, np.uint8) if clip is None else clip[len(clip) // 2])
    columns = 2 + len(shown)
    contact_sheet(pictures, columns, columns * 98).save(out / "identities.png", optimize=True)
    legend = f"From left to right: two photos, then a frame by {', '.join(shown)}. Asked for: {PROMPTS[0].text.format('…')}."
    return ["![photos and clips](identities.png)", "", legend]
