"""All checks in the order in which they are asked and shown: the quick ones first, torch last."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vcd_studio.doctor.finding import Finding
from vcd_studio.doctor.terminal import TerminalReading


@dataclass(frozen=True)
class Check:
    """``name`` stands for it until its findings are there."""

    name: str
    look: Callable[[], list[Finding]]

    def findings(self) -> list[Finding]:
        """What it finds. A check that fails is a finding itself: the others must still be heard."""
        try:
            return self.look()
        except Exception as error:
            remedy = "mend what the other lines name; if this stays, report it as a fault"
            return [Finding(self.name, "warning", f"could not be checked: {error}", remedy)]


def checks(
    terminal: Callable[[], TerminalReading], project: Path | None = None, unwanted: Callable[[], bool] = lambda: False
) -> Iterator[Check]:
    """``terminal`` is asked when its turn comes; ``project``: the open one; ``unwanted``: whether nobody waits for torch any more."""
    from vcd_studio import locations
    from vcd_studio.devices import read_cards
    from vcd_studio.doctor import cards, disk, memory, packages, packs, queue, torch_build, workers
    from vcd_studio.doctor import terminal as terminals
    from vcd_studio.jobs.workers import status

    read = cache(read_cards)
    wanted = disk.places() | ({"the open project": project} if project else {})
    yield Check("versions", lambda: [packages.check_versions()])
    yield Check("terminal", lambda: terminals.check_terminal(terminal()))
    yield Check(memory.CHECK, lambda: [memory.check_memory(memory.read_memory())])
    yield Check("disk", lambda: disk.check_disks(wanted))
    yield Check(queue.CHECK, lambda: [queue.check_queue(locations.store_path())])
    yield Check(packs.CHECK, lambda: packs.check_packs(locations.packs_dir()))
    yield Check("extras", packages.check_extras)
    yield Check(workers.CHECK, lambda: [workers.check_workers(status()), workers.check_detaching()])
    yield Check(cards.CHECK, lambda: cards.check_cards(read(), os.environ, workers.worker_pids()))
    yield Check("device", lambda: [workers.check_device(len(read().cards))])
    yield Check(torch_build.CHECK, lambda: torch_build.check_torch(bool(read().cards), unwanted))
