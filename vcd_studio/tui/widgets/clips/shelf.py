"""The clips of a project as the screen needs them: each is read once, on a thread, and again when it was written anew."""

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.collector import let_stay, uncollected
from vcd_studio.tui.widgets.pictures.grid import Tile
from vcd_studio.tui.widgets.pictures.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vcd_studio.jobs.model import Job
    from vcd_studio.project.clip_filter import Facts
    from vcd_studio.project.outputs import Clip, Written
    from vcd_studio.project.project import Project

USUAL_RATE = 8  # frames a second, of a clip that does not say


@dataclass(frozen=True)
class Shown:
    """One clip with what its page needs; what only the open clip needs is read when it is asked for."""

    clip: "Clip"
    facts: "Facts"
    poster: Path | None
    fps: int
    job: "Job | None" = None  # of one that never became a clip, where it is still known

    @property
    def words(self) -> str:
        """Its prompt, or what is wrong with it."""
        return self.clip.problem or self.facts.prompt

    @cached_property
    def stages(self) -> dict[str, tuple[Path, ...]]:
        """The frames of each stage that kept some."""
        return _frames(self.clip)

    @property
    def recipe(self) -> str:
        """The sidecar as it is on disk; of one that never became a clip, why."""
        if self.clip.problem and not (self.clip.folder / "clip.toml").exists():
            return "\n\n".join(filter(None, (self.clip.problem, self.job.traceback if self.job else "")))
        try:
            return (self.clip.folder / "clip.toml").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return str(error)

    def tile(self, *, marked: bool) -> Tile:
        """The clip on the page, its rating before its name."""
        mark = "✗" if self.clip.problem else "·" if self.facts.rating is None else str(self.facts.rating)
        return Tile(self.clip.id, Source(self.poster) if self.poster else None, self.clip.id, f"◆ {mark}" if marked else mark)

    def rated(self, rating: int | None) -> "Shown":
        """The same with another rating."""
        return replace(self, facts=replace(self.facts, rating=rating))


class Shelf:
    """The clips of a project. Each is read once, and again only when its sidecar was written anew.

    Threads that read at the same time take turns, so that the later finds what the earlier has read: thousands of clips take seconds,
    and a screen asks again whenever the queue has changed.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Written, Shown]] = {}
        self._lock = threading.Lock()
        self.trash: tuple[Path, ...] = ()

    def read(
        self,
        project: "Project",
        most: int | None = None,
        jobs: "Iterable[Job]" = (),
        told: "Callable[[float], object]" = lambda _: None,
    ) -> list[Shown]:
        """All clips, or of many ``most`` that were written last, and those that never became one; and what is in the trash.

        ``jobs`` tell of the unfinished why they are so; ``told`` how much is read, 0..1, where that takes long. Call it on a thread.
        """
        from vcd_studio.jobs.unfinished import unfinished_clips
        from vcd_studio.project.clip_index import read_clips
        from vcd_studio.project.outputs import clip_names, discarded

        outputs = project.outputs_dir
        with self._lock:
            known, found = self._known, clip_names(outputs)
            for gone in known.keys() - found.keys():
                del known[gone]
            wanted = dict(islice(found.items(), most))
            fresh = {name: written for name, written in wanted.items() if name not in known or known[name][0] != written}
            with uncollected():
                for name, clip in read_clips(outputs, fresh, told).items():
                    known[name] = fresh[name], read_shown(clip)
                let_stay(len(fresh))
            self.trash = tuple(discarded(outputs))
            unfinished = [replace(read_shown(clip), job=job) for clip, job in unfinished_clips(outputs, jobs, found)]
            return [*unfinished, *(known[name][1] for name in wanted)]

    def put(self, shown: Shown) -> None:
        """This is how the clip is now: its rating was changed, which is not in its sidecar."""
        if shown.clip.id in self._known:
            self._known[shown.clip.id] = self._known[shown.clip.id][0], shown


def read_shown(clip: "Clip") -> Shown:
    """One clip's facts, and its poster or a frame in its place."""
    from vcd_studio.project.clip_filter import facts_of

    poster = clip.poster if clip.has_poster else next((frames[0] for frames in reversed(_frames(clip).values())), None)
    fps = clip.recipe.get("fps")
    return Shown(clip, facts_of(clip), poster, int(fps) if isinstance(fps, (int, float)) and 1 <= fps <= 240 else USUAL_RATE)


def _frames(clip: "Clip") -> dict[str, tuple[Path, ...]]:
    return {name: tuple(stage.frames) for name, stage in clip.stages().items() if stage.frames}
