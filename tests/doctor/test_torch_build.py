"""torch as a process of its own reports it: judged, and asked although it may break or hang."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.doctor import torch_build
from vcd_studio.doctor.torch_build import NoReport, ask, check_torch, judge, runs_on

H100 = {"name": "H100", "capability": [9, 0]}
GOOD = {"version": "2.15.0+cu132", "cuda": "13.2", "archs": ["sm_80", "sm_90"], "cards": [H100], "refused": ""}
PACKAGES = {name: {"version": "1.0", "problem": ""} for name in ("torchvision", "diffusers", "transformers")}


def judged(card: bool, /, **torch: Any) -> Any:
    return judge({"torch": GOOD | torch, "packages": PACKAGES}, card)[0]


def test_a_build_that_sees_its_card_is_in_order() -> None:
    found = judge({"torch": GOOD, "packages": PACKAGES}, True)
    assert [finding.state for finding in found] == ["ok"] * 4
    assert "built for CUDA 13.2, sees H100 (sm_90)" in found[0].found


def test_a_card_that_it_was_not_built_for() -> None:
    found = judged(True, cards=[{"name": "RTX 5090", "capability": [12, 0]}])
    assert found.state == "warning"
    assert "was not built for your card RTX 5090 (sm_120), only for sm_80, sm_90" in found.found
    assert "sm_120" in found.remedy


def test_a_build_without_cuda_matters_only_beside_a_card() -> None:
    none: dict[str, Any] = {"version": "2.15.0+cpu", "cuda": None, "archs": [], "cards": []}
    assert judged(False, **none).state == "ok"
    assert judged(True, **none).state == "warning"
    assert "lies idle" in judged(True, **none).found


def test_a_card_that_torch_refuses_is_told_in_its_words() -> None:
    found = judged(True, cards=[], refused="The NVIDIA driver on your system is too old (found version 11040).")
    assert found.state == "warning"
    assert "too old (found version 11040)" in found.found


def test_without_torch_nothing_works() -> None:
    (missing,) = judge({"torch": {"version": "", "problem": ""}, "packages": {}}, False)
    assert (missing.state, missing.remedy) == ("fix", "pip install 'vcd-studio[diffusion]'")
    (broken,) = judge({"torch": {"version": "", "problem": "libcudart.so.13: cannot open"}, "packages": {}}, False)
    assert broken.state == "fix"
    assert "libcudart.so.13" in broken.found


@pytest.mark.parametrize(
    ("name", "about", "state"),
    [
        ("torchvision", {"version": "", "problem": "operator torchvision::nms does not exist"}, "fix"),
        ("torchvision", {"version": "", "problem": ""}, "ok"),
        ("diffusers", {"version": "", "problem": ""}, "fix"),
        ("transformers", {"version": "", "problem": "cannot import name 'x'"}, "fix"),
    ],
)
def test_packages_beside_torch(name: str, about: dict[str, str], state: str) -> None:
    (found,) = [finding for finding in judge({"torch": GOOD, "packages": PACKAGES | {name: about}}, True) if finding.check == name]
    assert found.state == state
    assert about["problem"] in found.found
    assert bool(found.remedy) == (state == "fix")


@pytest.mark.parametrize(
    ("capability", "archs", "runs"),
    [
        ((9, 0), ["sm_90"], True),
        ((8, 9), ["sm_80", "sm_86"], True),  # a later minor version
        ((8, 0), ["sm_86"], False),  # an earlier one
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),  # compiled when it is loaded
        ((7, 0), ["compute_90"], False),
        ((9, 0), ["sm_90a"], True),
        ((12, 1), ["sm_120a"], False),
        ((12, 0), ["gfx942", ""], False),
    ],
)
def test_which_cards_a_build_runs_on(capability: tuple[int, int], archs: list[str], runs: bool) -> None:
    assert runs_on(capability, archs) is runs


@given(st.tuples(st.integers(1, 20), st.integers(0, 9)), st.lists(st.text(max_size=12)))
def test_its_own_architecture_is_enough_whatever_stands_beside_it(capability: tuple[int, int], others: list[str]) -> None:
    assert runs_on(capability, [*others, f"sm_{capability[0]}{capability[1]}"])


def process(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_last_line_is_the_answer_whatever_was_printed_before() -> None:
    assert ask(process("print('a library greets'); print('{\"torch\": 1}')"), 60) == {"torch": 1}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit('no room')", "no room"),
        ("", "it said nothing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "Illegal instruction"),
    ],
)
def test_a_process_that_breaks_is_a_finding(code: str, says: str) -> None:
    (found,) = check_torch(False, command=process(code))
    assert found.state == "fix"
    assert says in found.found


def test_one_that_hangs_is_ended() -> None:
    with pytest.raises(NoReport, match="did not end within 0 s"):
        ask(process("import time; time.sleep(600)"), 0)


def test_one_that_nobody_waits_for_any_more_is_ended() -> None:
    with pytest.raises(NoReport):
        ask(process("import time; time.sleep(600)"), 600, unwanted=lambda: True)


@pytest.mark.slow
def test_the_torch_that_is_here_reports_itself() -> None:
    import torch

    report = ask(torch_build.REPORT, torch_build.ASK_SECONDS)
    assert report["torch"]["version"] == torch.__version__
    assert all(about["version"] for about in report["packages"].values()), json.dumps(report)
    assert {finding.state for finding in judge(report, False)} == {"ok"}
