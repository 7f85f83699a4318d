"""The terminal UI. Only `run` is public; textual is imported when it is called, so that `vcd-studio --help` stays quick."""

from pathlib import Path


def run(project: Path | None, graphics: str | None) -> int:
    """Open the studio, on one project or on the list of them; return the exit code. `graphics`: auto, sixel, kitty, halfcell or off; None:
    what the settings say."""
    from vcd_studio.tui.app import open_studio

    return open_studio(project, graphics)
