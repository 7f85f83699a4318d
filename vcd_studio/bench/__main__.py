"""``python -m vcd_studio.bench``: the process that measures, away from the command line that asked for it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from vcd_studio.bench.figures import Figure, cells, markdown
from vcd_studio.bench.machine import about
from vcd_studio.bench.parts import PARTS, Options, measure
from vcd_studio.method.protocols import MethodError
from vcd_studio.project.errors import InputError
from vcd_studio.worker.networks import set_up_device


def main(arguments: Sequence[str] | None = None) -> int:
    """Figures to stderr as they come; OUT/bench.json and OUT/bench.md, and that JSON's path to stdout. 0, or 2 for wrong input."""
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
        print(error, file=sys.stderr)
        return 2
    return 0


def run(parts: Sequence[str], options: Options) -> None:
    """Measure, and write after every part, so that nothing is lost when a later one is broken off."""
    options.out.mkdir(parents=True, exist_ok=True)
    machine, measured = about(options.device), dict[str, list[Figure]]()
    for part in parts:
        measured[part] = []
        for figure in measure(part, options):
            measured[part].append(figure)
            print("  ".join(filter(None, cells(figure))), file=sys.stderr, flush=True)
        record = {"machine": machine, "figures": {name: [figure.record() for figure in known] for name, known in measured.items()}}
        (options.out / "bench.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        lines = [", ".join(f"{key} {value}" for key, value in machine.items())]
        for name, known in measured.items():
            lines += ["", f"## {PARTS[name]}", "", *markdown(known)]
        (options.out / "bench.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(options.out / "bench.json")


if __name__ == "__main__":
    sys.exit(main())
