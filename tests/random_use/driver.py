"""Uses the studio at random: keys into its screens, verbs beside them, workers and screens killed; then looks whether anything is wrong.

Everything comes from one seed; what still differs from run to run is who wins a race. The networks are the tests' tiny ones.
"""

from __future__ import annotations

import fcntl
import os
import pty
import random
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.worker.tiny_pack import save_tiny_pack
from vcd_studio.jobs import workers
from vcd_studio.jobs.processes import is_alive
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import load_frames
from vcd_studio.media.video import read_video
from vcd_studio.project.project import Project

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = "frames = 4\nsteps = 2\nguidance = 1.0\ntiled_strength = 0.5\nface_strength = 0.5\npreview_every = 1\n"
TRAINING = "[training]\nsteps = 4\nbank = 2\nbatch = 1\ntokens = 1\ncheckpoint_every = 1\npreview_every = 2\n"
KEYS = [
    *"1234567", *"1234567", *"jkhlnaetsmwxucrpfgibXKJ/?dyovz+-[]", "\r", "\x1b", "\t", " ", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D",
    "\x1b[Z", "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F", "\x10", "\x13", "\x07", "\x7f", *"ERNTSF",
]  # fmt: skip
TYPED = ["a <rex> dog in the {snow|rain}", "rex", "1,2", "steps=1", "[red]x[/]", "\x1b[200~pasted\x1b[201~"]
PATIENCE = 300.0
"""Seconds after which a queue that does not come to its end is called stuck."""


@dataclass
class Wrong:
    """What was found, a sentence each."""

    found: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Kept, and printed at once: an hour is long."""
        self.found.append(sentence)
        print(sentence, flush=True)


class Screens:
    """The studio's screens in a terminal that nobody sees."""

    def __init__(self, film: Path, wrong: Wrong, graphics: str) -> None:
        self._wrong = wrong
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(film.parent)  # what is typed into a form about folders lands there
            os.execv(sys.executable, [sys.executable, "-m", "vcd_studio.cli", "--project", str(film), "--graphics", graphics])
        self.resize(30, 100)
        self._said = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> bool:
        """Whether they are still there to press keys in."""
        try:
            os.write(self._terminal, keys.encode())
        except OSError:
            return False
        return self.listen(0.05)

    def listen(self, seconds: float) -> bool:
        """Take what is drawn, at most so long; False once the screens have ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._terminal], [], [], left)[0]:
                return True
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                data = b""
            if not data:
                self._ended()
                return False
            self._said = (self._said + data)[-20_000:]
        return True

    @property
    def said(self) -> str:
        """The words that were drawn last."""
        return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self._said).decode(errors="replace")

    def _ended(self) -> None:
        os.close(self._terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        text = self.said
        if code not in (0, -signal.SIGKILL):  # a complaint shows its traceback on a key: that word alone is nothing wrong
            at = max(0, text.find("Traceback") - 500)
            self._wrong.say(f"the screens ended with {code}: …{text[at : at + 6000]}")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        while self.listen(0.5):
            continue


def film_in(root: Path) -> Project:
    """A project with two identities and some prompts, on a tiny pack."""
    camera = root / "camera"
    camera.mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(camera / f"{number}.png")
    project = Project.create(root / "film", pack=str(save_tiny_pack(root / "tiny")))
    with project.file.open("a") as file:
        file.write(QUICK)
    for name, noun in (("rex", "dog"), ("tom", "cat")):
        identity = project.add_identity(name, noun, [camera])
        with identity.file.open("a") as file:
            file.write("\n" + TRAINING)
    project.prompt_list().append("a <rex> dog in the {snow|rain}", seeds=[1, 2])
    return Project.open(project.path)


def verbs(project: Project, chance: random.Random, jobs: list[int]) -> list[str]:
    """One verb of the command line."""
    film, job = str(project.path), str(chance.choice(jobs or [1]))
    clips = [str(path.parent) for path in project.outputs_dir.glob("*/clip.toml")]
    clip = chance.choice(clips or [film])
    return chance.choice(
        [
            ["generate", film, "--seeds", str(chance.randrange(9))],
            ["generate", film, "--prompt", "a dog", "--stages", "t2v"],
            ["identity", "train", film, chance.choice(["rex", "tom"])],
            ["identity", "segment", film, "tom"],
            *(["queue", verb, job] for verb in ("cancel", "pause", "resume", "retry", "now", "show")),
            ["queue", "move", job, str(chance.randrange(3))],
            ["queue", "fork", job],
            ["queue", "list"],
            ["queue", "clear"],
            ["clips", "rerun", clip, "--stages", "tiled"],
            ["clips", "list", film],
            ["worker", "start", "--device", "cpu"],
            ["worker", "status"],
            ["project", "check", film],
        ]
    )


def run(root: Path, seconds: float, seed: int) -> Wrong:
    """Use it for so long, let the queue come to its end, and say what is wrong. ``VCD_HOME`` must point into ``root``."""
    chance, wrong, project = random.Random(seed), Wrong(), film_in(root)
    screens = Screens(project.path, wrong, "halfcell")
    begun: list[subprocess.Popen[bytes]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        draw = chance.random()
        if draw < 0.85:
            there = screens.press(chance.choice(KEYS) if chance.random() < 0.9 else chance.choice(TYPED))
        elif draw < 0.87:
            screens.resize(chance.choice([24, 30, 50]), chance.choice([80, 100, 160]))
            there = screens.listen(0.05)
        elif draw < 0.96:
            with Store() as store:
                jobs = [job.id for job in store.jobs()]
            command = [sys.executable, "-m", "vcd_studio.cli", *verbs(project, chance, jobs)]
            with (root / f"said-{len(begun)}").open("w") as said:
                begun.append(subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=root))
            there = screens.listen(0.2)
        elif draw < 0.99:
            for worker in workers.status():
                if worker.state != "dead":
                    os.kill(worker.pid, signal.SIGKILL)
            there = screens.listen(0.2)
        else:
            screens.kill()
            there = False
        if not there:
            screens = Screens(project.path, wrong, chance.choice(["halfcell", "sixel", "off"]))
    screens.kill()
    for number, process in enumerate(begun):
        process.wait(timeout=PATIENCE)
        said = (root / f"said-{number}").read_text(encoding="utf-8", errors="replace")
        if "Traceback" in said or process.returncode not in (0, 1, 2):
            wrong.say(f"{' '.join(map(str, process.args[2:]))} ended with {process.returncode}: {said[-1500:]}")  # type: ignore[index]
    _work_off(wrong)
    for sentence in look(project):
        wrong.say(sentence)
    return wrong


def _work_off(wrong: Wrong) -> None:
    """The queue to its end, by a worker that nobody disturbs."""
    for worker in workers.status():
        if worker.state != "dead":
            workers.stop(worker.device)
    command = [sys.executable, "-m", "vcd_studio.worker", "--device", "cpu", "--once"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=REPOSITORY)
    if ended.returncode:
        wrong.say(f"the last worker ended with {ended.returncode}: {ended.stderr[-1500:]}")


def look(project: Project) -> Iterator[str]:
    """What is not as it must be once the queue has come to its end."""
    with Store() as store:
        jobs = store.jobs()
        stages = store.all_stages([job.id for job in jobs])
        left, path = store.open_attempts(), store.path
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    if verdict != "ok":
        yield f"the store is damaged: {verdict}"
    for attempt in left:
        yield f"job {attempt.job_id} is held by worker {attempt.worker.pid}, alive: {is_alive(attempt.worker)}"
    made: dict[str, int] = {}
    for job in jobs:
        if job.state in ("queued", "running"):
            yield f"job {job.id} ({job.title}) is still {job.state}"
        if job.state == "failed" and "unexpectedly" in (job.error or ""):
            yield f"job {job.id} ({job.title}) failed unexpectedly: {job.error}\n{job.traceback}"
        if job.state != "done":
            continue
        if unfinished := [stage.name for stage in stages[job.id] if stage.state != "done"]:
            yield f"job {job.id} is done, its stages {unfinished} are not"
        if folder := job.result.get("clip"):
            if made.setdefault(folder, job.id) != job.id:
                yield f"jobs {made[folder]} and {job.id} made the same clip {folder}"
            yield from _look_at_clip(Path(folder))
    for folder in project.outputs_dir.rglob("*.part"):
        yield f"{folder} was left behind"


def _look_at_clip(folder: Path) -> Iterator[str]:
    if not folder.is_dir():  # into the trash, by the screens
        return
    missing = [name for name in ("clip.toml", "clip.mp4", "poster.png") if not (folder / name).is_file()]
    if missing:
        yield f"{folder} lacks {missing}"
        return
    frames, _ = read_video(folder / "clip.mp4")
    last = sorted((folder / "stages").iterdir(), key=lambda stage: ("t2v", "face", "tiled").index(stage.name))[-1]
    if len(frames) != len(load_frames(last / "frames")):
        yield f"{folder} has {len(frames)} frames in its film, and others in {last.name}"
