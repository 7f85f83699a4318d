"""All about one job, as a page of text."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.chrome.bars import clock

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job, Stage


def details(job: "Job", stages: "tuple[Stage, ...]") -> Text:
    """What it is, how it went, its snapshot of settings, and the traceback where it failed."""
    text = Text()
    rows = [
        ("job", f"#{job.id} {job.kind}"), ("title", job.title), ("project", str(job.project)), ("state", job.state),
        ("device", job.device or "any"),
        ("created", _time(job.created)), ("started", _time(job.started)), ("finished", _time(job.finished)), ("error", job.error or ""),
    ]  # fmt: skip
    for name, value in rows:
        if value:
            text.append(f"{name:<10}", "dim").append(f"{plain(value)}\n")
    for stage in stages:
        took = f" in {clock(stage.seconds)}" if stage.seconds is not None else ""
        text.append(f"{'stage':<10}", "dim").append(f"{plain(stage.name)}: {stage.state}, {stage.step}/{stage.steps}{took}\n")
    for title, values in (("Result", job.result), ("Settings", job.settings)):
        if values:
            text.append(f"\n{title}\n", "bold").append(plain(json.dumps(values, indent=1, ensure_ascii=False), lines=True) + "\n")
    if job.traceback:
        text.append("\nTraceback\n", "bold").append(plain(job.traceback, lines=True), "dim")
    return text


def _time(when: datetime | None) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S}" if when else ""
