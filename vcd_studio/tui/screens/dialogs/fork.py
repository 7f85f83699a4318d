"""Fork a clip: asks from which stage on, with which settings and seed; what it will cost is asked about before it is enqueued."""

from typing import TYPE_CHECKING

from vcd_studio.project.errors import InputError
from vcd_studio.project.settings import STAGES
from vcd_studio.project.text import quoted
from vcd_studio.tui.screens.dialogs.dialogs import Confirm
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values
from vcd_studio.tui.widgets.chrome.bars import amount, clock

if TYPE_CHECKING:
    from vcd_studio.jobs.forking import Fork
    from vcd_studio.jobs.model import Job
    from vcd_studio.jobs.store import Store

NOTE = "A new clip: stages before are taken over as they are, the job and what it made stay."


class ForkClip(Form):
    """Ends with what is planned; nothing is enqueued yet."""

    HELP = "A clip made again from a stage on. ← → choose the stage, Enter in the last line reckons what it costs, Escape gives up."

    def __init__(self, store: "Store", job: "Job") -> None:
        own = job.settings.get("generation", {}).get("stages", STAGES)
        fields = [
            Field("begin", "From which stage on", own[-1], choices=STAGES),
            Field("settings", "Settings, with spaces between", hint="face_strength=0.6 steps=30"),
            Field("seed", "Seed (empty: the same)", hint=str(job.settings.get("seed", ""))),
        ]
        super().__init__(f"Fork #{job.id}", fields, self._plan, "reckons the cost", NOTE)
        self.store, self.job = store, job

    def _plan(self, values: Values) -> "Fork":
        """On a thread. InputError leaves the form open with what is wrong."""
        from vcd_studio.jobs.forking import plan_fork
        from vcd_studio.project.settings import override_from_text

        seed = values["seed"]
        if seed and not seed.isdecimal():
            raise InputError(f"{quoted(seed)} is no seed; write a whole number, or nothing for the same one.")
        changes = dict(override_from_text(word) for word in values["settings"].split())
        return plan_fork(self.store, self.job.id, values["begin"], changes, int(seed) if seed else None)


def confirm_fork(fork: "Fork") -> Confirm:
    """The question before a fork is enqueued."""
    words = [f"{key}={value}" for key, value in fork.overrides.items()]
    words += [f"seed {fork.seed}"] if fork.seed is not None else []
    anew = f"{', '.join(fork.stages)} made anew{' with ' if words else ''}{', '.join(words)}"
    time = clock(fork.seconds) if fork.seconds is not None else "time not known before the first clip"
    lines = [anew, f"1 clip, {time}, {amount(fork.bytes)} of disk"]
    return Confirm(f"Enqueue a fork of #{fork.job.id}?", lines, "enqueue")
