"""Before anything imports Triton: its kernels are interpreted, so that they are tested where there is no card."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
