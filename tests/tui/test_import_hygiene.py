"""The front ends are light: a fresh interpreter proves what they import."""

import subprocess
import sys

import pytest

FORBIDDEN = ("torch", "diffusers", "transformers", "vcd_studio.method", "vcd_studio.models", "vcd_studio.pocket", "vcd_studio.worker")


SCREENS = [f"vcd_studio.tui.screens.{screen}" for screen in ("identity", "prompts", "models", "doctor")]


@pytest.mark.parametrize("module", ["vcd_studio.tui.app", "vcd_studio.cli", "vcd_studio.doctor.checks", *SCREENS])
def test_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith({FORBIDDEN!r})])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_package_alone_needs_no_textual() -> None:
    code = "import sys, vcd_studio.tui, vcd_studio.cli; print('textual' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
