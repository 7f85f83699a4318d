"""No way out of a folder, whichever way it is asked for."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from vcd_studio.project.errors import ProjectError
from vcd_studio.project.paths import inside

WORDS = ("plain", "file", "missing", "out", "in", "loop", "..", ".", "", "/", "/etc", "a\0b", "é" * 200)
PARTS = some.sampled_from([*WORDS, "plain/out", "in/file", "plain/../..", "out/x"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder, itself behind a link, with links in it that stay, leave and go round."""
    real = tmp_path / "real"
    (real / "plain").mkdir(parents=True)
    (real / "file").touch()
    (real / "plain" / "file").touch()
    (tmp_path / "secret").mkdir()
    (real / "out").symlink_to(tmp_path / "secret")
    (real / "plain" / "out").symlink_to("/")
    (real / "in").symlink_to("plain")
    (real / "loop").symlink_to("loop")
    (tmp_path / "root").symlink_to("real")
    return tmp_path / "root"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=some.lists(PARTS, min_size=1, max_size=4))
def test_a_path_is_inside_exactly_if_what_it_leads_to_is(root: Path, parts: list[str]) -> None:
    path = root.joinpath(*parts)
    try:
        leads_out = not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):
        leads_out = True
    if leads_out:
        with pytest.raises(ProjectError, match=r"leads out|cannot be followed"):
            inside(root, *parts)
    else:
        assert inside(root, *parts) == path
