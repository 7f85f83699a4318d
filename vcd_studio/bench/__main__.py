"""``python -m vcd_studio.bench``: the process that measures, away from the command line that asked for it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vcd_studio.bench.figures import Line, cells, markdown
from vcd_studio.bench.machine import about
from vcd_studio.bench.parts import PARTS, Options, measure
from vcd_studio.method.protocols import MethodError
from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import write_atomic
from vcd_studio.project.text import plain
from vcd_studio.worker.networks import set_up_device


def main(arguments: Sequence[str] | None = None) -> int:
    """Figures to stderr as they come; OUT/bench.json and OUT/bench.md, and that JSON's path to stdout. 0, 1 where
    what was to be measured broke down, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.bench", description="Measure how quick the studio is here.")
    parser.add_argument("parts", nargs="+", choices=tuple(PARTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args(arguments)
    try:
        set_up_device(given.device)
        run(given.parts, Options(given.device, given.rounds, given.out, given.small))
    except (InputError, MethodError) as error:
        print(plain(str(error)), file=sys.stderr)
        return 2
    except RuntimeError as error:  # a process that was to be measured has ended
        print(f"The measuring was broken off: {plain(str(error))}; what was measured before is in {given.out}.", file=sys.stderr)
        return 1
    return 0


def run(parts: Sequence[str], options: Options) -> None:
    """Measure, and write after every figure, so that nothing is lost when a later one is broken off."""
    options.out.mkdir(parents=True, exist_ok=True)
    machine, measured = about(options.device), dict[str, list[Line]]()
    for part in parts:
        for figure in measure(part, options):
            measured.setdefault(part, []).append(figure)
            print("  ".join(filter(None, cells(figure))), file=sys.stderr, flush=True)
            write(options.out, machine, measured)
    print(options.out / "bench.json")


def write(out: Path, machine: Mapping[str, str], measured: Mapping[str, Sequence[Line]]) -> None:
    """The table, for a person and for programs."""
    record = {"machine": machine, "figures": {part: [figure.record() for figure in known] for part, known in measured.items()}}
    write_atomic(out / "bench.json", (json.dumps(record, indent=1) + "\n").encode())
    lines = [", ".join(f"{key} {value}" for key, value in machine.items())]
    for part, known in measured.items():
        lines += ["", f"## {PARTS[part]}", "", *markdown(known)]
    write_atomic(out / "bench.md", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
