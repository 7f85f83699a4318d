"""torch and what runs on it: asked in a process of its own, for this one has no torch, and a broken build may take its process along."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vcd_studio.doctor.finding import Finding

CHECK = "torch"
ASK_SECONDS = 120.0
"""Importing torch, diffusers and transformers takes seconds; from a network disk, or one that is busy, it may take a minute."""

LOOK_EVERY = 0.2  # seconds between two looks whether the answer is still wanted
REPORT = (sys.executable, "-m", "vcd_studio.worker.installed")
INSTALL = "pip install 'vcd-studio[diffusion]'"
AGAIN = "pip install --force-reinstall torch torchvision"
Report = dict[str, Any]


class NoReport(Exception):
    """The process that was asked gave no answer; the sentence says how it ended."""


def check_torch(card: bool, unwanted: Callable[[], bool] = lambda: False, command: Sequence[str] = REPORT) -> list[Finding]:
    """Asks, at most ASK_SECONDS long, then judges. ``card``: whether there is an NVIDIA card; ``unwanted`` ends the asking early."""
    try:
        report = ask(command, ASK_SECONDS, unwanted)
    except NoReport as error:
        return [Finding(CHECK, "fix", str(error), AGAIN)]
    return judge(report, card)


def ask(command: Sequence[str], seconds: float, unwanted: Callable[[], bool] = lambda: False) -> Report:
    """The last line that ``command`` prints, as JSON. Raises NoReport, after the process was ended."""
    parents = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": parents}
    until = time.monotonic() + seconds
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace", env=environment) as process:
        while True:
            try:
                out, err = process.communicate(timeout=LOOK_EVERY)
                break
            except subprocess.TimeoutExpired:
                if unwanted() or time.monotonic() > until:
                    process.kill()
                    raise NoReport(f"importing torch did not end within {seconds:.0f} s") from None
    if process.returncode < 0:
        raise NoReport(f"importing torch ended its process: {signal.strsignal(-process.returncode) or process.returncode}")
    try:
        report: Report = json.loads(out.strip().splitlines()[-1])
        return report
    except (IndexError, ValueError):
        said = err.strip().splitlines() or ["it said nothing"]
        raise NoReport(f"torch could not be asked: {said[-1]}") from None


def judge(report: Report, card: bool) -> list[Finding]:
    """What a report (see ``vcd_studio.worker.installed``) means on a machine with or without an NVIDIA card."""
    return [_judge_torch(report["torch"], card), *(_judge_package(name, about) for name, about in report["packages"].items())]


def _judge_torch(torch: Report, card: bool) -> Finding:
    version = torch["version"]
    if not version:
        found = f"cannot be imported: {torch['problem']}" if torch["problem"] else "not installed: no worker can run"
        return Finding(CHECK, "fix", found, AGAIN if torch["problem"] else INSTALL)
    built = f"{version}, built for CUDA {torch['cuda']}" if torch["cuda"] else f"{version}, built without CUDA"
    if not card:
        return Finding(CHECK, "ok", built)
    if not torch["cuda"]:
        found = f"{built}: the card beside it lies idle, clips will be made on the CPU"
        return Finding(CHECK, "warning", found, "install torch's CUDA build in place of this one")
    if torch["refused"] or not torch["cards"]:
        remedy = "update NVIDIA's driver, or install a torch built for the CUDA that this driver knows"
        return Finding(CHECK, "warning", f"{built}, sees no card: {torch['refused'] or 'it counts none'}", remedy)
    names = []
    for seen in torch["cards"]:
        major, minor = seen["capability"]
        if not runs_on((major, minor), torch["archs"]):
            found = f"{built}, was not built for your card {seen['name']} (sm_{major}{minor}), only for {', '.join(torch['archs'])}"
            remedy = f"install a torch that was built for sm_{major}{minor}, or work on the CPU: --device cpu"
            return Finding(CHECK, "warning", found, remedy)
        names.append(f"{seen['name']} (sm_{major}{minor})")
    return Finding(CHECK, "ok", f"{built}, sees {', '.join(names)}")


def _judge_package(name: str, about: Report) -> Finding:
    if about["version"]:
        return Finding(name, "ok", about["version"])
    if name == "torchvision":  # needed by some extras alone; but where it is broken, it breaks the others too
        if not about["problem"]:
            return Finding(name, "ok", "not installed, and not needed without the extras")
        return Finding(name, "fix", f"broken beside this torch: {about['problem']}", AGAIN)
    found = f"cannot be imported: {about['problem']}" if about["problem"] else "not installed: no worker can run"
    return Finding(name, "fix", found, INSTALL)


def runs_on(capability: tuple[int, int], archs: Sequence[str]) -> bool:
    """Whether code compiled for ``archs`` ("sm_86", "compute_90", "sm_90a") runs on a card.

    Binaries run on their own and later minor versions, intermediate code (compute) on any later card, and what ends in an "a" on exactly
    its own: CUDA C++ Programming Guide, "Application Compatibility".
    """
    for arch in archs:
        known = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", arch)
        if known is None:
            continue
        built, kind, letter = (int(known[2]), int(known[3])), known[1], known[4]
        later = built < capability and ((built[0] == capability[0] and letter != "a") or (kind == "compute" and not letter))
        if built == capability or later:
            return True
    return False
