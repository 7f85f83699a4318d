"""One identity as the screen needs it: photos, the boxes found in them, and training runs, read together on a thread."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vcd_studio.project.errors import InputError
from vcd_studio.tui.widgets.training.runs import SeenRun, read_runs

if TYPE_CHECKING:
    from vcd_studio.project.found_boxes import FoundBoxes
    from vcd_studio.project.identity import Identity, Photo
    from vcd_studio.project.project import Project


@dataclass(frozen=True)
class Seen:
    """What was read of one identity; `problem` says why there is none."""

    names: tuple[str, ...] = ()
    identity: "Identity | None" = None
    photos: "tuple[Photo, ...]" = ()
    found: "dict[str, FoundBoxes]" = field(default_factory=dict)
    runs: tuple[SeenRun, ...] = ()
    used: str | None = None
    problem: str = ""


def read_identity(project: "Project", wanted: str) -> Seen:
    """Read one identity (the first one unless `wanted` is there) with its training runs. Call it on a thread."""
    names = tuple(project.identity_names())
    if not names:
        return Seen()
    name = wanted if wanted in names else names[0]
    from vcd_studio.project.found_boxes import read_boxes

    try:
        identity = project.identity(name)
        photos = tuple(identity.photos())
        found = {photo.name: boxes for photo in photos if (boxes := read_boxes(photo.mask_path)) is not None}
        return Seen(names, identity, photos, found, read_runs(identity), identity.used_name())
    except (InputError, OSError) as error:
        return Seen(names, problem=str(error))
