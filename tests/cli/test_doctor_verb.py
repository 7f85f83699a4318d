"""``vcd-studio doctor``: what is found in JSON and in lines, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vcd_studio.devices import Card, Memory, Process, Reading
from vcd_studio.doctor.checks import Check
from vcd_studio.doctor.finding import Finding

OK = Finding("memory", "ok", "64.0 GiB")
WARNING = Finding("pack", "warning", "only pocket", "vcd-studio models add NAME FILE")
FIX = Finding("queue", "fix", "damaged", "mv a b")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the checks find this."""

    def let(*findings: Finding) -> None:
        def checks(terminal: Any) -> Iterator[Check]:
            for finding in findings:
                yield Check(finding.check, lambda finding=finding: [finding])

        monkeypatch.setattr("vcd_studio.doctor.checks.checks", checks)

    return let


def test_json_is_an_array_of_findings(studio: Any, found: Any) -> None:
    found(OK, WARNING)
    said = studio("doctor", "--json")
    assert said.code == 0
    assert said.json == [
        {"check": "memory", "state": "ok", "found": "64.0 GiB", "remedy": ""},
        {"check": "pack", "state": "warning", "found": "only pocket", "remedy": "vcd-studio models add NAME FILE"},
    ]


def test_lines_name_state_check_and_remedy(studio: Any, found: Any) -> None:
    found(OK, WARNING)
    first, second, remedy = studio("doctor").out.splitlines()
    assert first.split() == ["ok", "memory", "64.0", "GiB"]
    assert second.split()[:2] == ["warning", "pack"]
    assert remedy.strip() == "→ vcd-studio models add NAME FILE"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_must_be_mended_is_exit_code_one(options: list[str], studio: Any, found: Any) -> None:
    found(OK, FIX, WARNING)
    said = studio("doctor", *options)
    assert said.code == 1
    assert "mv a b" in said.out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_names_are_shown_and_not_obeyed(options: list[str], studio: Any, found: Any) -> None:
    from vcd_studio.doctor.cards import check_cards

    process = Process(7, "\x1b]0;owned\x07\n\u202ex", 23 * 2**30)
    card = Card(0, "RTX\x1b[2J\x9b31m[red]", "GPU-1", Memory(24 * 2**30, 2**30), processes=(process,))
    found(*check_cards(Reading("580", (card,)), {}))
    said = studio("doctor", *options)
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(said.out)
    assert "[red]" in said.out
    if not options:
        assert len(said.out.splitlines()) == 2


def test_this_machine_is_looked_at_for_real_except_for_torch(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = Finding("torch", "ok", "not asked in this test")
    monkeypatch.setattr("vcd_studio.doctor.torch_build.check_torch", lambda card, unwanted: [torch])
    said = studio("doctor", "--json")
    states = {finding["check"]: finding["state"] for finding in said.json}
    checks = ["versions", "terminal", "memory", "disk", "queue", "pack", "worker", "detaching", "graphics card", "device", "torch"]
    assert set(checks) <= set(states)
    assert (states["queue"], states["versions"]) == ("ok", "ok")
    assert all(bool(finding["remedy"]) == (finding["state"] != "ok") for finding in said.json)
    assert said.code == int("fix" in states.values())
