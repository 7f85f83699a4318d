"""Tests of the method: tiny random networks, one thread."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from tiny import tiny_networks

from vcd_studio.method.protocols import Networks


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def networks() -> Networks:
    return tiny_networks()
