"""Slurm's commands for the tests: one machine, on which every job runs at once. Shipped to nobody.

``FAKE_SLURM`` is its folder: ``<number>/`` for each job, and ``hold`` while no job shall begin. Called by the name of the command.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

FOLDER = Path(os.environ["FAKE_SLURM"])
WAITING, RUNNING = "PENDING", "RUNNING"


def state_of(number: str) -> str:
    return (FOLDER / number / "state").read_text()


def set_state(number: str, state: str) -> None:
    part = FOLDER / number / "state.part"
    part.write_text(state)
    part.replace(FOLDER / number / "state")


def sbatch(script: str) -> int:
    if (refusal := FOLDER / "refuse").is_file():
        sys.stderr.write(refusal.read_text())
        return 1
    number = str(sum(1 for path in FOLDER.iterdir() if path.is_dir()) + 1)
    (FOLDER / number).mkdir()
    (FOLDER / number / "script").write_text(Path(script).read_text())
    set_state(number, WAITING)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen([sys.executable, __file__, "node", number], start_new_session=True, **quiet)
    print(f"Submitted batch job {number}")
    return 0


def node(number: str) -> int:
    """A job's life: wait, run, and once more where it was put back."""
    folder = FOLDER / number
    options = dict(re.findall(r"^#SBATCH --(output|error)=(.*)$", (folder / "script").read_text(), re.MULTILINE))
    while True:
        while (FOLDER / "hold").exists():
            time.sleep(0.02)
        if state_of(number) != WAITING:
            return 0
        set_state(number, RUNNING)
        with Path(options["output"].replace("%j", number)).open("a") as out, Path(options["error"].replace("%j", number)).open("a") as err:
            environment = {**os.environ, "SLURM_JOB_ID": number, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
            ended = subprocess.run(["bash", folder / "script"], env=environment, stdout=out, stderr=err, check=False).returncode
        if (folder / "requeue").exists():
            (folder / "requeue").unlink()
            set_state(number, WAITING)
        elif state_of(number) == RUNNING:
            said = folder / "verdict"
            set_state(number, said.read_text() if said.exists() else "FAILED" if ended else "COMPLETED")


def srun(*arguments: str) -> int:
    number, rest = os.environ["SLURM_JOB_ID"], list(arguments)
    while rest[0].startswith("--"):
        option = rest.pop(0)
        if option in ("--output", "--error"):
            path = Path(rest.pop(0).replace("%j", number).replace("%t", "0"))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(descriptor, 1 if option == "--output" else 2)
    (FOLDER / number / "pid").write_text(str(os.getpid()))
    os.execvp(rest[0], rest)


def sacct(*arguments: str) -> int:
    print("JobID|State|NodeList")
    for number in (word for before, word in itertools.pairwise(arguments) if before == "-j"):
        print(f"{number}|{state_of(number)}|node1\n{number}.batch|{state_of(number)}|node1")
    return 0


def scancel(number: str, *arguments: str) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int((FOLDER / number / "pid").read_text())
        if arguments:
            os.kill(pid, getattr(signal, f"SIG{arguments[1].removeprefix('SIG')}"))
            return 0
        os.kill(pid, signal.SIGKILL)
    set_state(number, "CANCELLED by 0")
    return 0


def scontrol(verb: str, number: str) -> int:
    (FOLDER / number / verb).touch()
    return 0


if __name__ == "__main__":
    command = globals()[sys.argv[1]]
    sys.exit(command(*sys.argv[2:]))
