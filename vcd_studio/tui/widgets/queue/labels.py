"""What a line of the queue says of a batch, a job or a stage."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from vcd_studio.jobs.model import job_progress
from vcd_studio.project.text import plain
from vcd_studio.tui.widgets.chrome.bars import STATE_MARKS, bar, clock, progress

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job, JobState, Stage
    from vcd_studio.tui.widgets.queue.groups import Group
    from vcd_studio.tui.widgets.queue.left import TimeLeft

BAR = 10
COUNTED: "tuple[JobState, ...]" = ("done", "running", "paused", "failed", "set-aside", "cancelled")  # of a batch; the rest of it waits
Colour = Callable[[str], str]
"""The colour of a state."""


def batch_label(group: "Group", stages: "Sequence[Sequence[Stage]]", left: "TimeLeft | None", colour: Colour) -> Text:
    """`▶ ━━━╸──────  35% running  ETA 4:10 12 clips · 3 done · a <rex> dog {running|sitting} · Park`; `stages`: of each of its jobs."""
    shares = [1.0 if job.state == "done" else job_progress(parts) for job, parts in zip(group.jobs, stages, strict=True)]
    text = _begin(group.state, group.state, sum(shares) / len(shares), colour)
    if left is not None:
        text.append(f"{left.words()} ")
    text.append_text(_priority({job.priority for job in group.jobs}))
    count, states = len(group.jobs), Counter(job.state for job in group.jobs)
    what = "clips" if group.jobs[0].kind == "generate" else "jobs"
    text.append(f"{count} {what}" if count == group.of else f"{count} of {group.of} {what}", "bold")
    for state in COUNTED:
        if states[state] and states[state] < count and (state, states[state]) != ("running", 1):  # one that runs is told before
            text.append(f" · {states[state]} {state}", colour(state) if state in ("failed", "set-aside") else "")
    written = list(dict.fromkeys(str(job.settings.get("written", job.title)) for job in group.jobs))
    text.append(f" · {plain(written[0])}")
    if len(written) > 1:
        text.append(f" and {len(written) - 1} more")
    return text.append(f" · {plain(group.jobs[0].project.name)}", "dim")


def job_label(job: "Job", stages: "Sequence[Stage]", seconds: float | None, colour: Colour) -> Text:
    """`▶ ━━━╸──────  35% running  ETA 1:10 #7 a <rex> dog in the snow · Park`; `seconds`: what it still needs, as far as that is known."""
    text = _begin(job.state, f"{job.request} asked" if job.request else job.state, job_progress(stages), colour)
    at_a_rate = [stage.eta for stage in stages if stage.eta is not None]
    if job.state == "running" and seconds is not None:
        text.append(f"ETA {clock(seconds)} ")
    elif at_a_rate:  # nothing like its later stages was done before
        text.append(f"ETA > {clock(sum(at_a_rate))} ")
    elif job.state == "queued" and seconds is not None:
        text.append(f"~{clock(seconds)} ", "dim")
    elif job.seconds is not None:
        text.append(f"{clock(job.seconds)} ", "dim")
    text.append_text(_priority({job.priority}))
    text.append(f"#{job.id} {plain(job.title)}")
    return text.append(f" · {plain(job.project.name)}", "dim")


def stage_label(stage: "Stage", colour: Colour) -> Text:
    """`▶ face    ━━━╸────── 14/20  3.1 steps/s  ETA 0:02  step 14 of 20`."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{STATE_MARKS.get(stage.state, '·')} {stage.name:<8}", colour(stage.state))
    text.append_text(progress(stage, BAR, colour(stage.state)))
    if stage.state == "done" and stage.seconds is not None:
        text.append(f"  {clock(stage.seconds)}", "dim")
    if stage.message:
        text.append(f"  {plain(stage.message)}", "dim")
    return text


def _begin(state: str, words: str, share: float, colour: Colour) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{STATE_MARKS[state]} ", colour(state)).append_text(bar(share, BAR, colour(state)))
    return text.append(f" {share:>4.0%} ").append(f"{words:<12}", colour(state))


def _priority(priorities: set[int]) -> Text:
    """`prio +2 `, or from the lowest to the highest; nothing for the usual one."""
    if priorities == {0}:
        return Text()
    return Text(f"prio {'…'.join(f'{priority:+d}' for priority in sorted({min(priorities), max(priorities)}))} ")
