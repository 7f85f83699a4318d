"""The report from rows whose truth is known: what it says must follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from vcd_studio.evaluation.plan import STAGE_SWEEPS, SWEEPS, TABLE, Plan, slug_of
from vcd_studio.evaluation.report import _usual, write_report
from vcd_studio.evaluation.study import Study
from vcd_studio.evaluation.subjects import Subject, pocket_subjects


@dataclass
class Measured:
    """Stands in for a study that is over: no network is asked anything."""

    rows_: list[dict[str, Any]]
    followed_: list[dict[str, bool | None]] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)
    subjects: list[Subject] = field(default_factory=lambda: list(pocket_subjects(1, photo_count=1)))

    def rows(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows_)

    def followed(self) -> Iterator[dict[str, bool | None]]:
        return iter(self.followed_)

    def units(self) -> list[int]:
        return [0]

    pending = units

    def clip(self, *_: Any) -> None:
        return None


def rows(arm: str, axis: str = "", value: Any = "", **figures: float) -> list[dict[str, Any]]:
    about = {"arm": arm, "axis": axis, "value": value, "noun": "dog", "name": arm}
    return [{**about, "subject": f"dog{s}", "prompt": p, "seed": 0, **figures} for s in range(4) for p in range(3)]


def told(measured: Measured, out: Path) -> str:
    return write_report(cast(Study, measured), out).read_text()


def line(text: str, beginning: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(beginning)]
    return found


def test_a_claim_is_higher_lower_or_open_as_the_rows_have_it(tmp_path: Path) -> None:
    text = told(Measured([*rows("vcd", identity=0.8, clip_t=0.3), *rows("base-animatediff", identity=0.5, clip_t=0.3)]), tmp_path)
    assert line(text, "| ID tokens carry identity").endswith("| identity (oracle) | +0.300 [+0.300, +0.300] | higher |")
    assert line(text, "| VCD keeps to the text").endswith("| no difference seen |")
    text = told(Measured([*rows("vcd", identity=0.4), *rows("lora", identity=0.5)]), tmp_path)
    assert line(text, "| VCD over LoRA").endswith("| lower |")
    assert "DreamBooth |" not in "".join(row for row in text.splitlines() if row.startswith("| VCD over"))


def test_the_gamma_sweep_takes_its_ends_from_the_table(tmp_path: Path) -> None:
    figures = {"identity": 0.5, "clip_t": 0.1, "dino_temporal": 0.9}
    measured = [row for arm in SWEEPS["gamma"] for row in rows(arm.slug, "gamma", arm.value, motion=1 - float(arm.value), **figures)]
    text = told(Measured(measured), tmp_path)
    section = text[text.index("## Gamma") :]
    values = [row.split("|")[1].strip() for row in section.splitlines() if row.startswith("| 0.")]
    assert values == [str(float(arm.value)) for arm in SWEEPS["gamma"]]
    assert line(section, "| 0.15 ").endswith("| 0.850 [0.850, 0.850] |")
    assert (tmp_path / "gamma.svg").read_text().startswith("<?xml")


def test_a_sweep_compares_what_all_of_its_arms_made(tmp_path: Path) -> None:
    figures = {"identity": 0.5, "clip_t": 0.1, "dino_temporal": 0.9, "motion": 0.1}
    measured = [row for arm in SWEEPS["gamma"] for row in rows(arm.slug, "gamma", arm.value, **figures)]
    more = [{**row, "subject": "cat9", "identity": 1.0} for row in rows("vcd", "gamma", 0.15, **figures)]
    section = told(Measured([*measured, *more]), tmp_path).partition("## Gamma")[2]
    assert line(section, "| 0.15 ").startswith("| 0.15 | 0.500 [0.500, 0.500] |")


def test_what_the_study_has_is_set_against_what_else_was_tried(tmp_path: Path) -> None:
    rest = {"colour_error": 0.1, "clip_t": 0.1, "scene": 1.0}
    measured = [row for n in (1, 4, 16) for row in rows(f"tokens-{n}", "tokens", n, identity=n / 16, **rest)]
    stage = {"identity": 0.5, "surety": 0.4, "clip_i": 0.2, "dino_temporal": 0.9}
    for v in STAGE_SWEEPS["face margin"]:
        measured += rows(slug_of(f"face margin {v}"), "face margin", v, head=float(v == 2.0), **stage)
    section = told(Measured(measured), tmp_path).partition("## What decides the defaults")[2].partition("\n## ")[0]
    assert line(section, "| tokens | 4 | 1 ").endswith("| identity (oracle) | +0.188 [+0.188, +0.188] | higher |")
    assert line(section, "| tokens | 4 | 16 ").endswith("| lower |")
    assert line(section, "| face margin | 2.0 | 3.0 ").endswith("| head (oracle) | +1.000 [+1.000, +1.000] | higher |")
    assert len([row for row in section.splitlines() if row.startswith(("| tokens", "| face"))]) == 4


def test_what_a_saver_costs_is_told_against_the_same_clips_without_it(tmp_path: Path) -> None:
    figures = {"clip_i": 0.7, "clip_t": 0.3, "dino": 0.6, "dino_temporal": 0.9, "clip_temporal": 0.9, "motion": 0.1}
    measured = [*rows("savers-none", "savers", "none", identity=0.8, **figures)]
    assert "## What savers of time cost" not in told(Measured(measured), tmp_path)
    measured += rows("savers-cache-3", "savers", "cache 3", identity=0.7, **{**figures, "clip_i": 0.75})
    section = told(Measured(measured), tmp_path).partition("## What savers of time cost")[2]
    assert line(section, "| cache 3 ").startswith("| cache 3 | -0.100 [-0.100, -0.100] | +0.050 [+0.050, +0.050] | +0.000 ")


def test_every_setting_that_is_swept_has_the_tables_vcd_on_it() -> None:
    for axis in (*SWEEPS, *STAGE_SWEEPS):
        slugs = [arm.slug for arm in SWEEPS.get(axis, ())] or [slug_of(f"{axis} {v}") for v in STAGE_SWEEPS[axis]]
        assert _usual(axis) in slugs


def test_a_report_names_the_command_that_made_it(tmp_path: Path) -> None:
    assert "Made by `vcd-studio evaluate`;" in told(Measured([]), tmp_path)
    plan = Plan(subjects=4, half=True, only=("vcd", "lora"), dino="facebook/dino-vits16")
    command = "`vcd-studio evaluate --subjects 4 --only vcd,lora --dino facebook/dino-vits16 --half`"
    assert f"Made by {command}" in told(Measured([], plan=plan), tmp_path)


def test_settings_of_the_stages_have_their_sections(tmp_path: Path) -> None:
    stage = {"identity": 0.5, "head": 0.4, "surety": 0.4, "clip_t": 0.1, "clip_i": 0.2, "dino_temporal": 0.9}
    measured = [row for name in ("t2v", "face", "upscaled", "tiled") for row in rows(f"stage-{name}", seam=1.0, **stage)]
    for axis in ("face strength", "tile overlap"):
        measured += [row for v in STAGE_SWEEPS[axis] for row in rows(slug_of(f"{axis} {v}"), axis, v, seam=1.02, **stage)]
    text = told(Measured(measured), tmp_path)
    assert "Seam score of Tiled: 1.000 [1.000, 1.000]" in text
    assert line(text, "| 0.2 ").count("1.020 [1.020, 1.020]") == 1
    assert {"face-strength.svg", "tile-overlap.svg"} <= {path.name for path in tmp_path.iterdir()}


def test_what_captions_said_is_counted_by_question(tmp_path: Path) -> None:
    followed: list[dict[str, bool | None]] = [
        {"kind": True, "collar": False, "hair": None}, {"kind": True, "collar": True}, {"kind": True, "collar": None}
    ]  # fmt: skip
    text = told(Measured([], followed), tmp_path)
    assert line(text, "| kind ") == "| kind | 3 | 3 | 1.000 [1.000, 1.000] | 0.95 |"
    assert line(text, "| collar ").startswith("| collar | 3 | 2 | 0.500 [0.000, 1.000]")
    assert line(text, "| hair ") == "| hair | 1 | 0 | – | 0.80 |"


@pytest.mark.parametrize("arm", TABLE, ids=lambda arm: arm.slug)
def test_every_arm_of_the_table_has_a_row(arm: Any, tmp_path: Path) -> None:
    text = told(Measured(rows(arm.slug, identity=0.25)), tmp_path)
    assert "0.250 [0.250, 0.250]" in line(text, f"| {arm.name} |")
