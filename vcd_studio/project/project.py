"""A project folder: what is in it, what may be added, and what is wrong with it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from vcd_studio import locations
from vcd_studio.catalog.packs import PackMissing, find_pack
from vcd_studio.project.errors import InputError, Problem, ProjectError
from vcd_studio.project.identity import IDENTITY_FILE, Identity, IdentityFile, check_consent, check_noun, write_identity
from vcd_studio.project.loras import LoraChoice, find_lora
from vcd_studio.project.paths import NAME, check_name, inside, make_numbered, reason, write_atomic
from vcd_studio.project.photos import is_photo_name, open_photo
from vcd_studio.project.prompts import NEW_TOML, PromptList, resolve
from vcd_studio.project.recent import PROJECT_FILE
from vcd_studio.project.settings import GenerationSettings
from vcd_studio.project.text import plain, quoted, slug
from vcd_studio.project.toml_file import examine_toml, nearest, read_toml

if TYPE_CHECKING:
    from vcd_studio.project.outputs import Clip

_Line = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(description="one line of text"),
]


class ProjectFile(BaseModel):
    """project.toml as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: _Line
    pack: _Line = "pocket"
    defaults: GenerationSettings = GenerationSettings()


class Project:
    """One project folder, opened."""

    def __init__(self, path: Path, file: ProjectFile) -> None:
        self.path = path
        self.name = file.name
        self.pack = file.pack
        self._defaults = file.defaults

    def __repr__(self) -> str:
        return f"Project({plain(str(self.path))!r})"

    @classmethod
    def open(cls, path: Path | str) -> Project:
        """Open a project by its folder or its project.toml; ProjectError with file and line if it is none or broken."""
        folder = _folder(path)
        return cls(folder, read_toml(inside(folder, PROJECT_FILE), ProjectFile))

    @classmethod
    def create(cls, path: Path | str, name: str | None = None, pack: str = "pocket") -> Project:
        """Make a project in a new or empty folder; InputError if something is there already."""
        import tomlkit

        folder = Path(path).expanduser().absolute()
        title = (name or folder.name).strip()
        if not title or plain(title) != title or len(title) > 200:
            raise InputError(f"{quoted(title)} cannot be the name of a project; use up to 200 ordinary characters.")
        if not pack.strip() or plain(pack) != pack or len(pack) > 200:
            raise InputError(f"{quoted(pack)} cannot be the name of a pack; use pocket, or one that is listed under models.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise InputError(f"The folder {plain(str(folder))} is not empty; choose another one for the new project.")
            for part in ("identities", "outputs"):
                (folder / part).mkdir()
        except OSError as error:
            raise InputError(
                f"The project {plain(str(folder))} cannot be made ({reason(error)}); choose a folder that can be written."
            ) from error
        document = tomlkit.document()
        document["name"] = title
        document["pack"] = pack
        document["pack"].comment("which models; pocket needs no download")
        document["defaults"] = tomlkit.table()
        document["defaults"].add(tomlkit.comment("any generation setting, for example: seeds = [1, 2], frames = 16"))
        write_atomic(folder / "prompts.toml", NEW_TOML.encode("utf-8"))
        write_atomic(folder / PROJECT_FILE, tomlkit.dumps(document).encode("utf-8"))
        return cls.open(folder)

    @property
    def file(self) -> Path:
        return self.path / PROJECT_FILE

    @cached_property
    def defaults(self) -> GenerationSettings:
        """Its generation settings, which a prompt may override: what project.toml says, over what the pack asks for, over ours."""
        try:
            pack = find_pack(self.pack, locations.packs_dir())
        except PackMissing:  # another machine may have it
            return self._defaults
        packs_own = GenerationSettings().with_overrides(pack.defaults, where=str(pack.file))
        return packs_own.with_overrides({key: getattr(self._defaults, key) for key in self._defaults.model_fields_set})

    @property
    def outputs_dir(self) -> Path:
        return inside(self.path, "outputs")

    @property
    def wildcard_dir(self) -> Path:
        """Lists for ``__name__``: one .txt file each."""
        return inside(self.path, "wildcards")

    @property
    def prompts_path(self) -> Path:
        """prompts.toml, or prompts.txt where only that is there."""
        text = inside(self.path, "prompts.txt")
        toml = inside(self.path, "prompts.toml")
        return text if text.is_file() and not toml.exists() else toml

    def prompt_list(self) -> PromptList:
        """The project's prompts."""
        return PromptList.load(self.prompts_path)

    def identity_names(self) -> list[str]:
        """The folders under identities/ that hold an identity.toml."""
        folder = inside(self.path, "identities")
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and (entry / IDENTITY_FILE).is_file())

    def identities(self) -> list[Identity]:
        """Every identity, by name; ProjectError if one is broken or two share a token."""
        identities = [Identity.open(self.path, name) for name in self.identity_names()]
        tokens: dict[str, Identity] = {}
        for identity in identities:
            other = tokens.setdefault(identity.token, identity)
            if other is not identity:
                message = f"the token {quoted(identity.token)} is that of {quoted(other.name)} too; give it another."
                raise ProjectError(message, identity.file)
        return identities

    def identity(self, name: str) -> Identity:
        """The identity of this name (or token); InputError names those there are."""
        names = self.identity_names()
        wanted = name[1:-1] if name.startswith("<") and name.endswith(">") else name
        if wanted in names:
            return Identity.open(self.path, wanted)
        by_token = {identity.token: identity for identity in self.identities()}
        if name in by_token:
            return by_token[name]
        raise InputError(f"{quoted(self.name)} has no identity {quoted(name)}; {nearest(wanted, names)}")

    def add_identity(self, name: str, noun: str, photos: Sequence[Path], consent: bool | None = None) -> Identity:
        """Copy photos (files, or folders of them) into a new identity; the same picture twice is taken once.

        A person's noun needs ``consent``. InputError for a bad name or noun or a file that is no picture: then nothing is left behind.
        """
        sources = list(photo_files(photos))
        if not sources:
            raise InputError(f"There are no photos for {quoted(name)}; give at least one picture (JPEG, PNG or WebP) or a folder of them.")
        for source in sources:
            open_photo(source)
        return self._new_identity(name, noun, sources, consent)

    def import_identity(self, name: str, noun: str, consent: bool | None = None) -> Identity:
        """A new identity without photos, for tokens that were learnt elsewhere. InputError as in ``add_identity``."""
        return self._new_identity(name, noun, [], consent)

    def _new_identity(self, name: str, noun: str, sources: list[Path], consent: bool | None) -> Identity:
        check_name(name, "an identity")
        noun = check_noun(noun)
        check_consent(noun, consent)
        taken = next((other for other in self.identity_names() if other.lower() == name.lower()), None)
        if taken:
            raise InputError(f"There is an identity {quoted(taken)} in {quoted(self.name)} already; choose another name.")
        root = inside(self.path, "identities")
        try:
            root.mkdir(exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".part", dir=root))
            try:
                staging.chmod(root.stat().st_mode & 0o777)
                (staging / "photos").mkdir()
                _copy_photos(sources, staging / "photos")
                write_identity(staging, name, noun, consent)
                staging.rename(root / name)  # fails if a folder with files came up meanwhile
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(staging)
                raise
        except OSError as error:
            raise InputError(
                f"The identity {quoted(name)} cannot be added to {plain(str(root))} ({reason(error)}); "
                "make the project writable and the name free."
            ) from error
        return Identity.open(self.path, name)

    def add_photos(self, name: str, photos: Sequence[Path]) -> int:
        """Copy more photos (files, or folders of them) into an identity; how many were new. InputError as in ``add_identity``."""
        identity = self.identity(name)
        present = identity.photos()
        known = {_digest(photo.path) for photo in present}
        sources = [source for source in photo_files(photos) if _digest(source) not in known]
        if not sources:
            raise InputError(f"There are no new photos for {quoted(name)} there; give a picture it does not have, or a folder of them.")
        for source in sources:
            open_photo(source)
        folder = inside(self.path, "identities", identity.name, "photos")
        try:
            folder.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".photos.", suffix=".part", dir=folder.parent) as staging:
                _copy_photos(sources, Path(staging), {photo.path.stem for photo in present})
                for copy in sorted(Path(staging).iterdir()):
                    copy.rename(folder / copy.name)
        except OSError as error:
            raise InputError(f"Photos cannot be added to {plain(str(folder))} ({reason(error)}); make the project writable.") from error
        return len(sources)

    def clips(self) -> list[Clip]:
        """The finished clips, newest first."""
        from vcd_studio.project.clip_index import list_clips

        return list_clips(self.outputs_dir)

    def new_clip(self, stem: str) -> Path:
        """A new, empty folder under outputs/, named after ``stem`` (any text); never one that was there."""
        folder = self.outputs_dir
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {plain(str(folder))} cannot be made ({reason(error)}); make the project writable.") from error
        return make_numbered(folder, slug(stem), "-001", "-{:03d}")

    def check_writable(self) -> None:
        """InputError if clips could not be written here."""
        folder = self.outputs_dir
        try:
            with tempfile.TemporaryFile(dir=folder if os.path.lexists(folder) else self.path):
                pass
        except OSError as error:
            raise InputError(
                f"The output folder {plain(str(folder))} cannot be written ({reason(error)}); make it writable or copy the project."
            ) from error

    def check(self) -> list[Problem]:
        """Every problem found in the folder, by file and line."""
        return list(_check(self.path))


def _folder(path: Path | str) -> Path:
    given = Path(path).expanduser().absolute()
    folder = given.parent if given.name == PROJECT_FILE else given
    if not folder.is_dir():
        raise ProjectError("there is no such folder; check the path, or make a project there first.", folder)
    if not (folder / PROJECT_FILE).is_file():
        raise ProjectError(f"this folder has no {PROJECT_FILE}, so it is no project; make one first or choose another.", folder)
    return folder


def photo_files(photos: Iterable[Path]) -> Iterable[Path]:
    """The files given, folders opened one level deep, the same content once."""
    seen: set[str] = set()
    for given in photos:
        path = Path(given).expanduser()
        files = sorted(file for file in path.iterdir() if is_photo_name(file.name)) if path.is_dir() else [path]
        for file in files:
            digest = _digest(file)
            if digest not in seen:
                seen.add(digest)
                yield file


def _digest(file: Path) -> str:
    if not file.is_file():
        return str(file)  # open_photo says what is wrong with it
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"The photo {plain(str(file))} cannot be read ({reason(error)}); check its permissions.") from error


def _copy_photos(sources: list[Path], folder: Path, taken: Iterable[str] = ()) -> None:
    used = set(taken)
    for source in sources:
        stem, suffix = slug(source.stem, 60, "photo"), source.suffix.lower() if is_photo_name(f"x{source.suffix}") else ".jpg"
        number = 1
        name = stem
        while name in used:  # masks are named after the stem alone
            number += 1
            name = f"{stem}-{number}"
        used.add(name)
        shutil.copyfile(source, folder / f"{name}{suffix}")


def _check(path: Path) -> Iterable[Problem]:
    try:
        folder = _folder(path)
        file, problems = examine_toml(inside(folder, PROJECT_FILE), ProjectFile)
        yield from problems
        yield from _check_links(folder)
        identities = inside(folder, "identities")
        entries = sorted(identities.iterdir()) if identities.is_dir() else []
    except ProjectError as error:
        yield Problem(error.file or path, error.line, error.message)
        return
    broken = bool(problems)
    for name in (entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")):
        try:
            identity_file = inside(folder, "identities", name, IDENTITY_FILE)
            if not NAME.fullmatch(name):
                yield Problem(folder / "identities" / name, None, f"{quoted(name)} is no name for an identity; rename the folder.")
            _, found = examine_toml(identity_file, IdentityFile)
            yield from found
            broken = broken or bool(found)
            if not found:
                yield from Identity.open(folder, name).check()
        except ProjectError as error:
            broken = True
            yield Problem(error.file or folder, error.line, error.message)
    yield from _check_prompts(folder, None if broken or file is None else Project(folder, file))


def _check_links(folder: Path) -> Iterable[Problem]:
    for root, folders, files in os.walk(folder, followlinks=False):
        for name in sorted((*folders, *files)):
            path = Path(root, name)
            if path.is_symlink():
                try:
                    inside(folder, str(path.relative_to(folder)))
                except ProjectError as error:
                    yield Problem(path, None, error.message)


def _check_prompts(folder: Path, project: Project | None) -> Iterable[Problem]:
    for name in ("prompts.toml", "prompts.txt"):
        try:
            path = inside(folder, name)
        except ProjectError:  # told by _check_links
            continue
        yield from PromptList.problems(path)
    if project is None:
        return
    try:
        identities = project.identities()
    except ProjectError as error:
        yield Problem(error.file or folder, error.line, error.message)
        return
    try:
        path, prompts = project.prompts_path, project.prompt_list()
    except ProjectError:  # told by _check_links, or above
        return
    for prompt in prompts:
        try:
            for lora in prompt.settings(project.defaults).loras:
                find_lora(LoraChoice.read(lora), folder, project.pack)
            for one in prompt.expanded(project.wildcard_dir):
                resolve(one.written, project, identities)
        except InputError as error:
            yield Problem(path, prompt.line, str(error))
    try:
        project.check_writable()
    except InputError as error:
        yield Problem(project.path / "outputs", None, str(error))
