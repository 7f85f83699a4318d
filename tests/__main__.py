"""Everything that must be green before a commit is shared: `python -m tests [pytest options]`.

Runs ruff, mypy, import-linter and pytest (slow ones too), each with this very interpreter's packages, says what failed and
exits 1 if anything did. Words after the command go to pytest, so `python -m tests -m 'not slow'` is the quick round. Tests run on every
core, a file at a time, each with one thread.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def checks(pytest_options: list[str]) -> dict[str, list[str]]:
    """Name → command, in the order they run: the quick ones first."""
    python = sys.executable
    return {
        "ruff": [python, "-m", "ruff", "check", "."],
        "import-linter": [str(Path(python).parent / "lint-imports")],
        "mypy": [python, "-m", "mypy"],
        "pytest": [python, "-m", "pytest", "-n", "logical", "--dist", "loadfile", *pytest_options],
    }


def main(pytest_options: list[str]) -> int:
    """Runs every check, also after one has failed, so that one round shows all there is to mend."""
    failed = []
    for name, command in checks(pytest_options).items():
        print(f"── {name}", flush=True)
        began = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, check=False, env={"OMP_NUM_THREADS": "1", **os.environ}).returncode
        print(f"── {name}: {'ok' if code == 0 else f'failed ({code})'} in {time.monotonic() - began:.0f} s", flush=True)
        if code:
            failed.append(name)
    print("── all green" if not failed else f"── failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
