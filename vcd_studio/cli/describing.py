"""``vcd-studio identity describe|draft``, and the noun that ``identity add`` was not given."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, ProjectPath, answer
from vcd_studio.cli.identities import Consent, Name, agreed
from vcd_studio.cli.telling import WORK_FAILED, tell
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

DESCRIBE = f"{EXAMPLE} vcd-studio identity describe my-film rex --write"
DRAFT = f"{EXAMPLE} vcd-studio identity draft my-film rex --count 25 --write"


@contextmanager
def _failing_softly() -> Iterator[None]:
    """A describer that fails is work that failed: one sentence and exit code 1."""
    from vcd_studio.describer.client import DescriberError

    try:
        yield
    except DescriberError as error:
        tell(f"vcd-studio: {error}")
        raise typer.Exit(WORK_FAILED) from error


def describe(
    project: ProjectPath,
    name: Name,
    write: Annotated[bool, typer.Option("--write", help="Make the noun the identity's.")] = False,
    consent: Consent = None,
    as_json: Json = False,
) -> None:
    """Ask the describer what an identity's photos show."""
    from vcd_studio.describer.questions import describe_identity
    from vcd_studio.project.project import Project
    from vcd_studio.settings import load_settings

    identity = Project.open(project).identity(name)
    with _failing_softly():
        found = describe_identity(load_settings().describer, identity)
    if write:
        identity.set_noun(found.noun, agreed(found.noun, identity.consent if consent is None else consent))
    told = {"identity": identity.name, "noun": found.noun, "class": found.coco_class, "description": found.line, "written": write}
    lines = [f"noun: {found.noun}{' (written)' if write else ''}", f"class: {found.coco_class or '–'}", found.line or "no description"]
    answer(told, lines, as_json)


def draft(
    project: ProjectPath,
    name: Name,
    write: Annotated[bool, typer.Option("--write", help="Add them to the end of the project's prompt list.")] = False,
    count: Annotated[int, typer.Option("--count", min=1, max=100, metavar="N", help="How many; the paper's protocol has 25.")] = 25,
    as_json: Json = False,
) -> None:
    """Ask the describer for prompts that fit an identity: other places, actions, outfits."""
    from vcd_studio.describer.questions import draft_prompts
    from vcd_studio.project.project import Project
    from vcd_studio.settings import load_settings

    opened = Project.open(project)
    identity = opened.identity(name)
    if write:
        opened.prompt_list()  # one that cannot be read is told before anybody is asked
    with _failing_softly():
        prompts = draft_prompts(load_settings().describer, identity, count)
    if len(prompts) < count:
        tell(f"{len(prompts)} of {count} prompts can be used.")
    written = opened.prompt_list().extend(prompts) if write else 0
    if write:
        tell(f"{written} added to {opened.prompts_path}.")
    answer({"identity": identity.name, "prompts": prompts, "written": written}, prompts, as_json)


def find_noun(name: str, photos: Sequence[Path], *, may_send: bool) -> str:
    """The describer's noun for the photos, said on stderr; where it is off, fails or may not see them, the one typed at the terminal.

    InputError where nobody is there to type one.
    """
    from vcd_studio.describer.client import DescriberError
    from vcd_studio.describer.questions import describe as ask_what
    from vcd_studio.project.project import photo_files
    from vcd_studio.settings import load_settings

    describer = load_settings().describer
    files = list(photo_files(photos))
    if describer.url and files and may_send:
        try:
            noun = ask_what(describer, files).noun
        except DescriberError as error:
            tell(str(error))
        else:
            tell(f"{noun}, by the describer")
            return noun
    if sys.stdin.isatty() and sys.stderr.isatty():
        typed: str = typer.prompt(f"What is {name}, in a word or two?", err=True)
        return typed
    raise InputError(f"Nobody said what {quoted(name)} is: give --noun, for example --noun dog.")
