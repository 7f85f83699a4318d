"""What holds for every test."""

import os

from hypothesis import settings

# Before anything imports Triton: its kernels are interpreted, so that they are tested where there is no card.
os.environ.setdefault("TRITON_INTERPRET", "1")

# How long an example takes is the machine's business: a test says what is right, a benchmark how quick it is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
