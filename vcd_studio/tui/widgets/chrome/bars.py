"""Bars, rates and times as text, one way for all screens."""

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Stage

STATE_MARKS = {
    "queued": "·", "running": "▶", "paused": "‖", "done": "✓", "failed": "✗", "cancelled": "×", "set-aside": "!",
}  # fmt: skip


def bar(share: float, width: int, colour: str = "") -> Text:
    """A bar of `width` cells, `share` of it (0..1) filled, to half a cell."""
    halves = round(max(0.0, min(1.0, share)) * width * 2)
    full, half = divmod(halves, 2)
    text = Text("━" * full + "╸" * half, colour)
    return text.append("─" * (width - full - half), "dim")


def clock(seconds: float) -> str:
    """`0:42`, `12:05`, `3:10:00`."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def amount(count: float) -> str:
    """Bytes for people: `640 KB`, `1.2 MB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit in ("B", "KB") else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable: the last unit always returns")


def rate(stage: "Stage") -> str:
    """`3.1 steps/s`, or seconds a step where that is more than one."""
    if not stage.rate:
        return ""
    return f"{stage.rate:.1f} steps/s" if stage.rate >= 1 else f"{1 / stage.rate:.1f} s/step"


def progress(stage: "Stage", width: int, colour: str = "") -> Text:
    """`━━━╸── 14/25  3.1 steps/s  ETA 0:04`."""
    text = bar(stage.progress, width, colour)
    if stage.steps:
        text.append(f" {stage.step}/{stage.steps}")
    if stage.state == "running" and (words := rate(stage)):
        text.append(f"  {words}")
    if stage.eta is not None:
        text.append(f"  ETA {clock(stage.eta)}")
    return text
