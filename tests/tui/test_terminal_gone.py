"""The studio ends with its terminal, also where no signal tells it to."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path


def test_a_terminal_that_goes_without_a_word_ends_the_studio(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vcd_studio.cli", "--graphics", "off"], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "VCD_HOME": str(tmp_path), "TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    while b"Welcome" not in re.sub(rb"\x1b\[[^a-zA-Z]*[a-zA-Z]", b"", drawn):
        drawn += os.read(ours, 65536)
    os.close(ours)  # it is no controlling terminal, so that no SIGHUP comes
    try:
        assert process.wait(timeout=60) == 1
    finally:
        process.kill()
        process.wait()
