"""``python -m vcd_studio.worker.importing FILE TARGET TOKEN NOUN``: somebody else's embedding file becomes ours.

A process of its own, because embedding files are often pickles, which torch alone reads safely, and the command line has no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(source: str, target: str, token: str, noun: str) -> int:
    """0 when TARGET is written; 2 after one sentence on stderr."""
    from vcd_studio.method.id_tokens import IdTokens
    from vcd_studio.method.protocols import MethodError

    try:
        IdTokens.load(Path(source), token, noun).save(Path(target))
    except MethodError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
