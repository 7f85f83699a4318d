"""``vcd-studio demo``: the example project through everything, in one go."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer, duration, size, table
from vcd_studio.cli.following import finish, need_worker, start_worker
from vcd_studio.cli.telling import tell
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job
    from vcd_studio.jobs.store import Store
    from vcd_studio.project.identity import Identity
    from vcd_studio.project.project import Project

EPILOG = f"{EXAMPLE} vcd-studio demo --out my-first-clip --seed 7"
EXAMPLE_PROJECT = "pocket-park"
HOME = ".vcd-home"
"""The demo's own queue, inside its folder: it collides with no worker of the user's."""
MOST_NAMES = 1000


@dataclass(frozen=True)
class Part:
    """One stage for the closing table."""

    stage: str
    seconds: float | None
    made: str
    bytes: int


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the project is put; the next free name if it is taken.")] = Path(
        "vcd-studio-demo"
    ),
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Another seed, another clip.")] = None,
    as_json: Json = False,
) -> None:
    """Make a clip of the example identity: masks, ID tokens, T2V, Face, Tiled."""
    from vcd_studio.settings import load_settings

    began = time.monotonic()
    need_worker(no_worker=False)
    graphics = load_settings().graphics
    project = _copy_example(out)
    tell(f"The example project is in {project.path}")
    with _own_home(project.path), _worker():
        from vcd_studio.jobs.store import Store

        with Store() as store:
            identity, jobs = _make(store, project, seed)
            parts = [part for job in jobs for part in _parts(store, project, identity, job)]
            peak = _peak_memory()
    folder = Path(jobs[-1].result["clip"])
    files = {"video": folder / "clip.mp4", "gif": folder / "clip.gif", "sheet": folder / "contact-sheet.png"}
    shown = {
        "project": str(project.path),
        "clip": folder.name,
        "seconds": round(time.monotonic() - began, 3),
        "peak_memory": peak,
        "stages": [asdict(part) for part in parts],
        **{name: str(path) for name, path in files.items()},
    }
    if not as_json:
        _show_sheet(files["sheet"], graphics)
    answer(shown, _lines(shown, parts, project), as_json)


def _make(store: Store, project: Project, seed: int | None) -> tuple[Identity, list[Job]]:
    """Masks, tokens and one clip of the first prompt and the identity it names; each job done when the next is enqueued."""
    from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_segment, enqueue_train, plan_generate
    from vcd_studio.project.prompts import resolve

    prompts = project.prompt_list().prompts
    if not prompts:
        raise InputError(f"The example project {plain(str(project.path))} has no prompts; install VCD Studio again.")
    variant = prompts[0].expanded(project.wildcard_dir)[0]
    named = resolve(variant.written, project)[1] or project.identities()
    identity = named[0]
    tell(f"{identity.token} is a {identity.noun} in {len(identity.photos())} photos. First its masks, then its ID tokens:")
    before = [enqueue_segment(store, project, identity), enqueue_train(store, project, identity)]
    done = finish(store, before[:1], follow=True, no_worker=True) + finish(store, before[1:], follow=True, no_worker=True)
    seeds = [seed] if seed is not None else list(variant.settings(project.defaults).seeds[:1])
    plan = plan_generate(project, prompts=[variant], seeds=seeds)
    tell(f"Now the clip: {plan.items[0].expanded} (seed {seeds[0]})")
    return identity, done + finish(store, enqueue_plan(store, project, plan), follow=True, no_worker=True)


def _copy_example(out: Path) -> Project:
    """The shipped project in a new folder: never into one that is there."""
    from vcd_studio.locations import shipped_projects
    from vcd_studio.project.project import Project
    from vcd_studio.project.recent import remember_project

    source = shipped_projects() / EXAMPLE_PROJECT
    if not (source / "project.toml").is_file():
        raise InputError(f"The example project is missing from {plain(str(source))}; install VCD Studio again.")
    wanted = out.expanduser().absolute()
    for number in range(1, MOST_NAMES):
        target = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            target.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"The folder {plain(str(target))} cannot be made ({error.strerror}); give another one with --out.") from error
    else:
        raise InputError(f"There are {MOST_NAMES} demos beside {plain(str(wanted))} already; give another folder with --out.")
    try:
        made = shutil.ignore_patterns("outputs", "masks", "trained", ".*")
        shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile, ignore=made)
        for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
            folder.chmod(folder.stat().st_mode | 0o700)  # copied from a place that may be read-only
    except OSError as error:
        raise InputError(f"The example project cannot be copied to {plain(str(target))} ({error.strerror or error}); try --out.") from error
    remember_project(target)
    return Project.open(target)


@contextmanager
def _own_home(folder: Path) -> Iterator[None]:
    """The queue in ``folder``, unless VCD_HOME says where everything lies. The user's device is kept."""
    if os.environ.get("VCD_HOME", "").strip():
        yield
        return
    from vcd_studio.settings import load_settings

    changes = {"VCD_HOME": str(folder / HOME), "VCD_DEVICE": load_settings().device}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _worker() -> Iterator[None]:
    """A worker for as long as the demo takes; one that was there before is left running."""
    from vcd_studio.jobs import workers

    there = any(worker.state != "dead" for worker in workers.status())
    start_worker()
    try:
        yield
    finally:
        if not there and any(worker.state != "dead" for worker in workers.status()):
            workers.stop()


def _parts(store: Store, project: Project, identity: Identity, job: Job) -> list[Part]:
    parts = []
    for stage in store.stages(job.id):
        if stage.name == "segment":
            masks = [photo.mask_path for photo in identity.photos() if photo.has_mask]
            made, count = f"{len(masks)} masks", _bytes(masks)
        elif stage.name == "train":
            tokens = Path(job.result["tokens"])
            made, count = f"{identity.training.tokens} ID tokens", _bytes([tokens])
        elif stage.name == "save":
            folder = Path(job.result["clip"])
            made, count = "mp4, GIF, poster", _bytes([path for path in folder.iterdir() if path.is_file()])
        else:
            made, count = _frames(project, Path(job.result["clip"]), stage.name)
        parts.append(Part(stage.name, stage.seconds, made, count))
    return parts


def _frames(project: Project, folder: Path, stage: str) -> tuple[str, int]:
    from vcd_studio.project.outputs import read_clip
    from vcd_studio.project.photos import open_photo

    output = read_clip(folder).stages()[stage]
    width, height = open_photo(output.frames[0], smallest=1).size
    return f"{len(output.frames)} frames of {width} × {height}", _bytes([*output.frames, output.video])


def _bytes(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())


def _peak_memory() -> int | None:
    """The most memory (bytes) any living worker of this queue has held; None where the system does not tell."""
    from vcd_studio.jobs import workers

    peaks = []
    for worker in workers.status():
        try:
            lines = Path(f"/proc/{worker.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:  # not Linux, or gone
            continue
        peaks += [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return max(peaks, default=None)


def _show_sheet(sheet: Path, graphics: str) -> None:
    from vcd_studio.cli.picture import show_picture

    if sheet.is_file() and sys.stdout.isatty():
        sys.stdout.write("\n")
        show_picture(sheet, graphics)
        sys.stdout.write("\n")


def _lines(shown: dict[str, Any], parts: Sequence[Part], project: Project) -> list[str]:
    rows = [(part.stage, duration(part.seconds), part.made, size(part.bytes)) for part in parts]
    memory = f", at most {size(shown['peak_memory'])} of memory" if shown["peak_memory"] else ""
    return [
        *table(("stage", "time", "made", "size"), rows, "nothing"),
        "",
        f"{duration(shown['seconds'])} in all{memory}",
        f"film   {shown['video']}",
        f"GIF    {shown['gif']}",
        f"sheet  {shown['sheet']}",
        f"look   vcd-studio --project {project.path}",
    ]
