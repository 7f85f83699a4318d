"""One identity: its noun, its photos with their masks, and its training runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from vcd_studio.project.errors import InputError, Problem, ProjectError
from vcd_studio.project.paths import NAME, inside, make_numbered, reason, write_atomic
from vcd_studio.project.photos import is_photo_name, open_photo, read_mask, write_mask
from vcd_studio.project.settings import SegmentationSettings, TrainingSettings
from vcd_studio.project.text import plain, quoted
from vcd_studio.project.toml_file import edit_toml, nearest, parse_toml, read_text, read_toml

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MaskState = Literal["automatic", "corrected", "whole", "left-out"]
MASK_STATES: tuple[str, ...] = get_args(MaskState)
IDENTITY_FILE = "identity.toml"
RUN_FILE = "run.toml"
TOKENS_FILE = "tokens.safetensors"
WEIGHTS_FILE = "weights.safetensors"
_NOUN = re.compile(r"[^\W\d_](?:[\w' -]{0,58}\w)?")
HUMAN_NOUNS = frozenset(
    re.findall(
        r"\w+",
        """actor actress adult aunt baby ballerina boy boyfriend bride brother builder chef child children cop couple cousin dad dancer
        daughter doctor dude face father female firefighter friend gal gentleman girl girlfriend grandfather grandma grandmother
        grandpa groom guy human husband infant kid king lad ladies lady lass male man men mom mother mum musician nephew niece nurse
        officer parent people person pianist player portrait president prince princess queen schoolboy schoolgirl selfie singer
        sister soldier son student teacher teen teenager toddler uncle wife wives woman women worker""",
    )
)
NOT_HUMAN = frozenset({"caiman", "doberman", "german", "ottoman", "roman", "snowman", "talisman"})


def is_human(noun: str) -> bool:
    """Whether a noun names a person, so that consent must be asked for."""
    return any(
        word in HUMAN_NOUNS or word.removesuffix("s") in HUMAN_NOUNS or (word.endswith(("man", "men")) and word not in NOT_HUMAN)
        for word in re.findall(r"[^\W\d_]+", noun.lower())
    )


def check_noun(noun: str) -> str:
    """``noun`` trimmed; InputError if it is not a plain word or two."""
    noun = noun.strip()
    if not _NOUN.fullmatch(noun):
        raise InputError(f'{quoted(noun)} cannot be a class noun; say what it is in a plain word or two, as "dog" or "stuffed animal".')
    return noun


def check_consent(noun: str, consent: bool | None) -> None:
    """InputError if ``noun`` is a person's and nobody answered whether that person agreed."""
    if consent is None and is_human(noun):
        raise InputError(
            f"{quoted(noun)} is a person: ask whether that person agreed to clips of them, and give the answer (--consent or --no-consent)."
        )


def check_agreed(identities: Iterable[Identity]) -> list[str]:
    """InputError for the first identity with ``consent = false``: no training and no clip of it.

    Returns a warning for each person of whom nobody has said whether they agreed (files older than the question).
    """
    warnings = []
    for identity in identities:
        if identity.consent is False:
            raise InputError(
                f"{quoted(identity.name)} ({plain(identity.noun)}) did not agree to clips, so nothing is trained or made of them; once "
                "they do, say so by identity train --consent, by N on the identity screen, or by "
                f"consent = true in {plain(str(identity.file))}."
            )
        if identity.consent is None and identity.is_human:
            warnings.append(
                f"{quoted(identity.name)} is a person, and nobody has said whether they agreed to clips; write consent = true or false "
                f"in {plain(str(identity.file))}."
            )
    return warnings


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhotoEntry(_Table):
    """One ``[[photo]]`` of identity.toml."""

    file: Annotated[str, StringConstraints(strict=True, pattern=r"^photos/[^/\\\x00-\x1f]+$"), Field(description="a file in photos/")]
    mask: MaskState = "automatic"


class IdentityFile(_Table):
    """identity.toml as it is written."""

    name: Annotated[str, StringConstraints(strict=True, pattern=f"^{NAME.pattern}$"), Field(description="letters, digits, - and _")]
    noun: Annotated[str, StringConstraints(strict=True, pattern=f"^{_NOUN.pattern}$"), Field(description='a plain word or two, as "dog"')]
    token: Annotated[str, StringConstraints(strict=True, pattern=f"^<{NAME.pattern}>$"), Field(description="a name in < and >, as <rex>")]
    consent: Annotated[bool, Field(strict=True)] | None = None
    run: Annotated[str, StringConstraints(strict=True, pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")] | None = None
    training: TrainingSettings = TrainingSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    photo: tuple[PhotoEntry, ...] = ()


@dataclass(frozen=True)
class Photo:
    """One photo, where its mask is or will be, and what the mask's state is."""

    path: Path
    mask_path: Path
    state: MaskState
    has_mask: bool

    @property
    def name(self) -> str:
        """The file name, as ``set_mask_state`` takes it."""
        return self.path.name


@dataclass(frozen=True)
class Run:
    """One training run, which holds tokens, weights or both; ``finished`` once all it will hold is there."""

    name: str
    folder: Path
    tokens_path: Path
    weights_path: Path
    finished: bool
    loss_path: Path
    previews: list[Path]

    @property
    def has_tokens(self) -> bool:
        return self.tokens_path.is_file()

    @property
    def has_weights(self) -> bool:
        return self.weights_path.is_file()

    def record(self) -> dict[str, Any]:
        """What run.toml says; empty while there is none. ProjectError if it is broken."""
        path = inside(self.folder, RUN_FILE)
        return parse_toml(path, read_text(path)) if path.is_file() else {}


class Identity:
    """``identities/<name>/`` of a project. Edits are on disk when their call returns."""

    def __init__(self, project_path: Path, file: IdentityFile) -> None:
        self.project_path = project_path
        self._take(file)

    def _take(self, file: IdentityFile) -> None:
        self.name = file.name
        self.noun = file.noun
        self.token = file.token
        self.consent = file.consent
        self.chosen_run = file.run
        self.training = file.training
        self.segmentation = file.segmentation
        self._states = {Path(entry.file).name: entry.mask for entry in file.photo}

    @classmethod
    def open(cls, project_path: Path, name: str) -> Identity:
        """Read ``identities/<name>/identity.toml``; ProjectError with file and line if it is wrong."""
        path = inside(project_path, "identities", name, IDENTITY_FILE)
        file = read_toml(path, IdentityFile)
        if file.name != name:
            raise ProjectError(f"the name {quoted(file.name)} is not that of its folder {quoted(name)}; make them the same.", path)
        return cls(project_path, file)

    def __repr__(self) -> str:
        return f"Identity({plain(self.name)!r}, {plain(self.noun)!r})"

    @property
    def folder(self) -> Path:
        return self.project_path / "identities" / self.name

    @property
    def file(self) -> Path:
        return self.folder / IDENTITY_FILE

    @property
    def masks_dir(self) -> Path:
        return inside(self.project_path, "identities", self.name, "masks")

    @property
    def trained_dir(self) -> Path:
        return inside(self.project_path, "identities", self.name, "trained")

    @property
    def is_human(self) -> bool:
        return is_human(self.noun)

    def photos(self) -> list[Photo]:
        """The photos by name. ProjectError for one that leads out of the project."""
        folder = inside(self.project_path, "identities", self.name, "photos")
        if not folder.is_dir():
            return []
        photos: list[Photo] = []
        stems: set[str] = set()
        for name in sorted(entry.name for entry in folder.iterdir() if is_photo_name(entry.name)):
            path = inside(self.project_path, "identities", self.name, "photos", name)
            stem = path.stem if path.stem not in stems else name  # a.jpg and a.png cannot share masks/a.png
            stems.add(path.stem)
            mask = inside(self.project_path, "identities", self.name, "masks", f"{stem}.png")
            photos.append(Photo(path, mask, self._states.get(name, "automatic"), mask.is_file()))
        return photos

    def photo(self, name: str) -> Photo:
        """The photo of this file name; InputError names those there are."""
        photos = {photo.name: photo for photo in self.photos()}
        if name not in photos:
            raise InputError(f"{quoted(self.name)} has no photo {quoted(name)}; {nearest(name, list(photos))}")
        return photos[name]

    def set_mask_state(self, photo_name: str, state: str) -> None:
        """Keep another mask state of one photo (its file name) in identity.toml."""
        if state not in MASK_STATES:
            raise InputError(f"{quoted(state)} is no state of a mask; {nearest(state, list(MASK_STATES))}")
        entry = f"photos/{self.photo(photo_name).name}"

        def change(document: Any) -> None:
            import tomlkit

            for table in document.get("photo", []):
                if table["file"] == entry:
                    table["mask"] = state
                    return
            if state == "automatic":
                return
            added = tomlkit.table()
            added["file"], added["mask"] = entry, state
            if "photo" not in document:
                document["photo"] = tomlkit.aot()
            document["photo"].append(added)

        self._edit(change)

    def take_mask(self, photo_name: str, file: Path) -> None:
        """Take a mask drawn in another program: light is subject, dark background; its photo's size. The photo is then "corrected"."""
        photo = self.photo(photo_name)
        mask, size = read_mask(file), open_photo(photo.path).size
        if mask.shape != (size[1], size[0]):
            raise InputError(
                f"The mask {plain(str(file))} has {mask.shape[1]} x {mask.shape[0]} pixels and its photo {size[0]} x {size[1]}; "
                "draw it at the photo's own size."
            )
        self.correct_mask(photo_name, mask)

    def correct_mask(self, photo_name: str, mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]) -> None:
        """Keep a person's own mask, (height, width), of one photo; the state "corrected" keeps it from being found again."""
        write_mask(self.photo(photo_name).mask_path, mask)
        self.set_mask_state(photo_name, "corrected")

    def set_noun(self, noun: str, consent: bool | None = None) -> None:
        """Say what the identity is; a person's noun needs the answer about consent, given now or kept from before."""
        noun = check_noun(noun)
        answer = self.consent if consent is None else consent
        check_consent(noun, answer)

        def change(document: Any) -> None:
            document["noun"] = noun
            if answer is not None and document.get("consent") != answer:
                document["consent"] = answer

        self._edit(change)

    def set_section(self, section: Literal["training", "segmentation"], **changes: Any) -> None:
        """Change settings of ``[training]`` or ``[segmentation]``; InputError for a value out of bounds."""
        settings: TrainingSettings | SegmentationSettings = self.training if section == "training" else self.segmentation
        settings.with_overrides(changes)

        def change(document: Any) -> None:
            import tomlkit

            if section not in document:
                document[section] = tomlkit.table()
            document[section].update(changes)

        self._edit(change)

    def _edit(self, change: Any) -> None:
        edit_toml(inside(self.project_path, "identities", self.name, IDENTITY_FILE), IdentityFile, change)
        self._take(read_toml(self.file, IdentityFile))

    def runs(self) -> list[Run]:
        """Every training run, oldest first."""
        folder = self.trained_dir
        if not folder.is_dir():
            return []
        names = sorted((entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")), key=_natural)
        return [self._run(name) for name in names]

    def _run(self, name: str) -> Run:
        folder = inside(self.project_path, "identities", self.name, "trained", name)
        tokens, weights = inside(folder, TOKENS_FILE), inside(folder, WEIGHTS_FILE)
        # A training writes its tokens last; weights alone, without its record, are a LoRA that somebody put there.
        finished = tokens.is_file() or (weights.is_file() and not inside(folder, RUN_FILE).is_file())
        previews = inside(folder, "previews")
        pictures = sorted(path for path in previews.iterdir() if is_photo_name(path.name)) if previews.is_dir() else []
        seen = [inside(previews, path.name) for path in pictures]
        return Run(name, folder, tokens, weights, finished, inside(folder, "loss.csv"), seen)

    def new_run(self) -> Path:
        """A new, empty folder for a training: run-001, run-002, …"""
        folder = self.trained_dir
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {plain(str(folder))} cannot be made ({reason(error)}); make the project writable.") from error
        return make_numbered(folder, "run-", "001", "{:03d}")

    def import_run(self, tokens: Path, source: Path) -> Run:
        """A finished run of the file ``tokens``, which came out of ``source``."""
        folder = self.new_run()
        record: dict[str, Any] = {"identity": self.name, "noun": self.noun, "token": self.token}
        record |= {"imported_from": source.name, "finished": datetime.now(UTC)}
        write_atomic(folder / RUN_FILE, tomli_w.dumps(record).encode("utf-8"))
        write_atomic(folder / TOKENS_FILE, tokens.read_bytes())
        return self._run(folder.name)

    def used_run(self) -> Run | None:
        """The run prompts use: the chosen one, else the newest finished one. InputError where the chosen one is gone or not finished."""
        if self.chosen_run is None:
            return self.latest_run()
        return self._finished_run(self.chosen_run)

    def used_name(self) -> str | None:
        """The name of the run prompts use, be it there or not; None while nothing is trained."""
        if self.chosen_run is not None:
            return self.chosen_run
        latest = self.latest_run()
        return latest.name if latest else None

    def use_run(self, name: str | None) -> None:
        """Choose the run that prompts use; None for always the newest. InputError if there is no such run, or it is not finished."""
        if name is not None:
            self._finished_run(name)

        def change(document: Any) -> None:
            if name is not None:
                document["run"] = name
            else:
                document.pop("run", None)

        self._edit(change)

    def _finished_run(self, name: str) -> Run:
        runs = {run.name: run for run in self.runs()}
        if name not in runs:
            known = nearest(name, list(runs))
            raise InputError(f"{quoted(self.name)} has no training run {quoted(name)}; choose another (identity use): {known}")
        if not runs[name].finished:
            raise InputError(f"The run {quoted(name)} of {quoted(self.name)} is not finished; let its training end, or choose another.")
        return runs[name]

    def latest_run(self) -> Run | None:
        """The newest finished run."""
        return next((run for run in reversed(self.runs()) if run.finished), None)

    def nearest_run(self) -> Run:
        """Of the finished runs that learnt from the newest one's photos, with its networks, the one with the lowest steady loss.

        InputError where no run has been given one.
        """
        measured = [(run, run.record()) for run in self.runs() if run.finished]
        measured = [(run, told) for run, told in measured if isinstance(loss := told.get("steady_loss"), float) and math.isfinite(loss)]
        if not measured:
            raise InputError(f"No finished training run of {quoted(self.name)} has a steady loss to choose by; train it anew.")
        alike = [measured[-1][1].get(key) for key in ("photos", "pack_sha256")]
        same = [(run, told) for run, told in measured if [told.get(key) for key in ("photos", "pack_sha256")] == alike]
        return min(same, key=lambda each: float(each[1]["steady_loss"]))[0]

    def latest_tokens(self) -> Run | None:
        """The chosen run if it is one of ID tokens alone, else the newest finished such run."""
        if self.chosen_run is not None and not (chosen := self._finished_run(self.chosen_run)).has_weights:
            return chosen
        return next((run for run in reversed(self.runs()) if run.finished and not run.has_weights), None)

    def check(self) -> Iterable[Problem]:
        """Every problem with the photos, the masks and the consent."""
        if self.is_human and self.consent is None:
            yield Problem(self.file, None, f"{quoted(self.noun)} is a person; write consent = true or false, as that person answered.")
        if self.chosen_run is not None:
            try:
                self._finished_run(self.chosen_run)
            except InputError as error:
                yield Problem(self.file, None, str(error))
        try:
            photos = self.photos()
        except ProjectError as error:
            yield Problem(error.file or self.folder, None, error.message)
            return
        if not photos:
            yield Problem(self.folder / "photos", None, f"{quoted(self.name)} has no photos; put at least one picture into that folder.")
        for name in self._states:
            if name not in {photo.name for photo in photos}:
                yield Problem(self.file, None, f"the photo {quoted('photos/' + name)} is not there; put it back or take its [[photo]] out.")
        for photo in photos:
            yield from _check_photo(photo)


def _check_photo(photo: Photo) -> Iterable[Problem]:
    try:
        size = open_photo(photo.path).size
    except InputError as error:
        yield Problem(photo.path, None, str(error))
        return
    if not photo.has_mask:
        return
    try:
        mask = open_photo(photo.mask_path).size
    except InputError as error:
        yield Problem(photo.mask_path, None, str(error))
        return
    if mask != size:
        yield Problem(
            photo.mask_path,
            None,
            f"the mask has {mask[0]} x {mask[1]} pixels and its photo {size[0]} x {size[1]}; segment the photo again.",
        )


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"\d+|\D+", name, re.ASCII))


def write_identity(folder: Path, name: str, noun: str, consent: bool | None) -> None:
    """A new identity.toml, with a comment where a person would look for help."""
    import tomlkit

    document = tomlkit.document()
    document["name"] = name
    for key, value, comment in (
        ("noun", noun, "what it is, as one would say it"),
        ("token", f"<{name}>", "what prompts write"),
        ("consent", consent, "whether this person agreed"),
    ):
        if value is not None:
            document[key] = tomlkit.item(value).comment(comment)
    write_atomic(folder / IDENTITY_FILE, tomlkit.dumps(document).encode("utf-8"))
