"""A real relay whose jobs, on their nodes, have the stages of fake_stage_worker. Run as a script by the tests, never shipped."""

from __future__ import annotations

import functools
import sys

from fake_stage_worker import act

from vcd_studio.cluster import relay, slurm
from vcd_studio.cluster.__main__ import main

if __name__ == "__main__":
    relay.POLL_SECONDS = 0.1
    slurm.NodeJob = functools.partial(slurm.NodeJob, stages={"t2v": act, "face": act, "save": act})
    sys.exit(main())
