"""One command line: every verb of the screens has a headless twin here. stdout carries the answer, stderr the progress.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

from vcd_studio.cli.screens import open_screens, plainly_asked
from vcd_studio.cli.telling import INPUT_WRONG, INTERRUPTED, WORK_FAILED, tell
from vcd_studio.project.errors import InputError


def main() -> None:
    """The entry point; always ends in SystemExit."""
    try:
        asked = plainly_asked(sys.argv[1:])
        if asked is not None:
            sys.exit(open_screens(*asked))
        from vcd_studio.cli.verbs import app

        app()
    except InputError as error:
        tell(f"vcd-studio: {error}")
        sys.exit(INPUT_WRONG)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it ends
        sys.exit(WORK_FAILED)
    except OSError as error:
        tell(f"vcd-studio: {error.filename or 'a file'}: {error.strerror or error}.")
        sys.exit(WORK_FAILED)
