"""``python -m tests.random_use --minutes 60 --seed 1``: random use until then; exit code 1 where anything is wrong."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.random_use")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="vcd-random-use-"))
    os.environ |= {"VCD_HOME": str(root / "home"), "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    from tests.random_use.driver import run

    wrong = run(root, options.minutes * 60, options.seed)
    print(f"{len(wrong.found)} wrong after {options.minutes:g} minutes with seed {options.seed}; everything is kept in {root}")
    return 1 if wrong.found else 0


if __name__ == "__main__":
    sys.exit(main())
