"""The verbs, each from a module of its own, and the options of the screens.

Heavy imports stand inside the verbs, so that ``vcd-studio --help`` answers at once; nothing here may reach torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vcd_studio.cli import again, bench, clips, demo, describing, doctor, evaluate, generate, identities, models, projects, queue, workers
from vcd_studio.cli.answers import EXAMPLE
from vcd_studio.cli.screens import MODES, open_screens

app = typer.Typer(
    name="vcd-studio",
    help="Short videos of exactly one person, pet or object, from a handful of photos and a text prompt.\n\n"
    "Without a verb: the screens; on one project, where its folder is given (vcd-studio my-film/).",
    epilog=f"{EXAMPLE} vcd-studio demo",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verbs in (projects.app, identities.app, queue.app, workers.app, clips.app, models.app):
    app.add_typer(verbs)
identities.app.command("describe", epilog=describing.DESCRIBE)(describing.describe)
identities.app.command("draft", epilog=describing.DRAFT)(describing.draft)
queue.app.command("fork", epilog=again.FORK)(again.fork)
clips.app.command("rerun", epilog=again.RERUN)(again.rerun)
app.command("reproduce", epilog=again.REPRODUCE)(again.reproduce)
app.command("compare", epilog=again.COMPARE)(again.compare)
app.command("demo", epilog=demo.EPILOG)(demo.demo)
app.command("doctor", epilog=doctor.EPILOG)(doctor.doctor)
app.command("bench", epilog=bench.EPILOG)(bench.bench)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("generate", epilog=generate.EPILOG)(generate.generate)


def _version(wanted: bool) -> None:
    if wanted:
        from vcd_studio import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def screens(
    context: typer.Context,
    project: Annotated[Path | None, typer.Option("--project", metavar="PATH", help="Open the screens on this project.")] = None,
    graphics: Annotated[
        str | None, typer.Option("--graphics", metavar="MODE", help="How pictures are drawn: auto, sixel, kitty, halfcell or off.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and end.")] = False,
) -> None:
    """Opens the screens where no verb was given."""
    if context.invoked_subcommand is not None:
        if project is not None or graphics is not None:
            raise typer.BadParameter("--project and --graphics are for the screens: give them without a verb.")
        return
    if graphics is not None and graphics not in MODES:
        raise typer.BadParameter(f"choose one of {', '.join(MODES)}.", param_hint="--graphics")
    raise typer.Exit(open_screens(project, graphics))
