"""``vcd-studio bench``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vcd_studio.bench.parts import PARTS
from vcd_studio.cli.answers import EXAMPLE, Json, answer
from vcd_studio.cli.telling import INPUT_WRONG, WORK_FAILED, tell
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

EPILOG = f"{EXAMPLE} vcd-studio bench clock diffusers"
USUAL = ("clock", "diffusers")


def bench(
    parts: Annotated[
        list[str] | None, typer.Argument(metavar="[PART…]", help="; ".join(f"{name}: {about}" for name, about in PARTS.items()) + ".")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda:N.")] = "auto",
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="How often each is measured, rivals taking turns.")] = 5,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the table, its JSON and plots go.")] = Path(
        "vcd-studio-bench"
    ),
    small: Annotated[bool, typer.Option("--small", help="Miniature counts: to see it work, not to learn from.")] = False,
    as_json: Json = False,
) -> None:
    """How quick the studio is on this machine, rivals side by side: clock and diffusers, unless parts are named."""
    import json

    from vcd_studio.jobs.workers import resolve_device

    chosen = parts or list(USUAL)
    if unknown := next((part for part in chosen if part not in PARTS), None):
        raise InputError(f"There is nothing to measure called {quoted(unknown)}; choose from {', '.join(PARTS)}.")
    _nothing_else_at_work()
    out.mkdir(parents=True, exist_ok=True)
    options = ["--device", resolve_device(device), "--rounds", str(rounds), "--out", str(out), *(["--small"] if small else [])]
    tell(f"measuring {', '.join(chosen)}: leave the machine alone meanwhile")
    _measure([*chosen, *options])
    record: dict[str, Any] = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    answer(record, (out / "bench.md").read_text(encoding="utf-8").splitlines(), as_json)


def _nothing_else_at_work() -> None:
    """InputError while a job runs: it would be measured too, and slowed down."""
    from vcd_studio.jobs.store import Store

    with Store() as store:
        running = store.jobs(states=["running"])
    if running:
        raise InputError(f"Job {running[0].id} is running and would be measured too; wait for it, or pause it: queue pause {running[0].id}")


def _measure(arguments: list[str]) -> None:
    """In a process of its own, since torch stays out of this one; its figures come to stderr as they are there."""
    import subprocess
    import sys

    code = subprocess.run([sys.executable, "-m", "vcd_studio.bench", *arguments], stdout=subprocess.DEVNULL, check=False).returncode
    if code:
        raise typer.Exit(INPUT_WRONG if code == INPUT_WRONG else WORK_FAILED)
