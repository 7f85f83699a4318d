"""The front ends are light: a fresh interpreter proves what they import."""

import subprocess
import sys

import pytest

FORBIDDEN = ("torch", "diffusers", "transformers", "vcd_studio.method", "vcd_studio.models", "vcd_studio.pocket", "vcd_studio.worker")


SCREENS = [f"vcd_studio.tui.screens.{screen}" for screen in ("identity", "prompts", "models", "doctor")]


@pytest.mark.parametrize("module", ["vcd_studio.tui.app", "vcd_studio.cli", "vcd_studio.cli.verbs", "vcd_studio.doctor.checks", *SCREENS])
def test_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith({FORBIDDEN!r})])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_package_alone_needs_no_textual() -> None:
    code = "import sys, vcd_studio.tui, vcd_studio.cli.verbs; print('textual' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_first_screen_waits_for_nothing_that_it_can_do_without() -> None:
    """Neither the verbs' reader of words nor what reads projects: a third of the time until it is drawn."""
    code = "import sys, vcd_studio.cli, vcd_studio.tui.app, vcd_studio.tui.screens.projects as p; print(p.places()); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    places, modules = run.stdout.splitlines()
    assert places == "[]"
    assert not {"typer", "pydantic", "tomlkit", "vcd_studio.project.project", "vcd_studio.jobs.store"} & set(modules.split())
