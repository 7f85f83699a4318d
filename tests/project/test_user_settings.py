"""The user's settings and where things lie."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio import locations
from vcd_studio.project.text import in_place, plain, slug
from vcd_studio.settings import SettingsError, load_settings


def write(text: str) -> None:
    locations.config_dir().mkdir(parents=True, exist_ok=True)
    locations.settings_path().write_text(text)


def test_variables_over_the_file_over_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().graphics == "auto"
    write('graphics = "sixel"\ndevice = "cuda:1"\n[keymap]\nquit = "ctrl+q"\n')
    monkeypatch.setenv("VCD_DEVICE", "cpu")
    loaded = load_settings()
    assert (loaded.graphics, loaded.device, loaded.keymap) == ("sixel", "cpu", {"quit": "ctrl+q"})


def test_a_wrong_file_is_told_with_its_line() -> None:
    write('theme = "dark"\ngraphic = "sixel"\n')
    with pytest.raises(SettingsError, match=r'settings\.toml, line 2: unknown key "graphic"; did you mean "graphics"'):
        load_settings()
    write("theme = \n")
    with pytest.raises(SettingsError, match="line 1: this is not valid TOML"):
        load_settings()


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCD_GRAPHICS", "crayon")
    with pytest.raises(SettingsError, match=r'VCD_GRAPHICS, "crayon" is not right'):
        load_settings()
    monkeypatch.setenv("VCD_GRAPHICS", "off")
    monkeypatch.setenv("VCD_DEVICE", "tpu")
    with pytest.raises(SettingsError, match=r'VCD_DEVICE, "tpu" is not right for .*: it must be auto, cpu, cuda or a card, as cuda:1\.'):
        load_settings()
    monkeypatch.setenv("VCD_DEVICE", "cpu")
    monkeypatch.setenv("VCD_KEYMAP", "{")
    with pytest.raises(SettingsError, match="VCD_KEYMAP"):
        load_settings()


def test_all_of_it_lies_under_vcd_home(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (locations.store_path(), locations.worker_dir(), locations.packs_dir(), locations.cache_dir(), locations.settings_path()):
        assert path.is_relative_to(own_home)
    monkeypatch.delenv("VCD_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(own_home / "xdg"))
    assert locations.state_dir() == own_home / "xdg" / "vcd-studio"


@given(st.text())
def test_plain_text_holds_no_control(text: str) -> None:
    shown = plain(text)
    assert plain(shown) == shown
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)


def test_escapes_are_shown() -> None:
    assert plain("a\x1b]52;c;x\x07\u202eb\n") == "a\u241b]52;c;x\u2407\\u202eb\u240a"
    assert plain("a\nb", lines=True) == "a\nb"
    assert plain("naïve 犬") == "naïve 犬"


@given(st.text())
def test_in_an_editor_every_character_keeps_its_place(text: str) -> None:
    shown = in_place(text)
    assert len(shown) == len(text)
    assert plain(shown) == shown


@given(st.text())
def test_a_slug_is_a_plain_file_name(text: str) -> None:
    assert slug(text).replace("-", "").isalnum()
    assert slug(text).isascii()
    assert len(slug(text)) <= 48


def test_the_describer_is_off_until_it_has_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().describer.url == ""
    write('[describer]\nurl = "http://localhost:11434/v1"\nmodel = "llava"\nphotos = 2\n')
    assert (load_settings().describer.model, load_settings().describer.photos, load_settings().describer.timeout) == ("llava", 2, 60)
    monkeypatch.setenv("VCD_DESCRIBER", '{"model": "other"}')
    assert (load_settings().describer.url, load_settings().describer.model) == ("http://localhost:11434/v1", "other")


@pytest.mark.parametrize("url", ["ftp://h/v1", "file:///etc/passwd", "host/v1", "http://", "http://h:port", "http://[::1", "http://h/ v"])
def test_only_an_address_of_the_web_is_one(url: str) -> None:
    write(f'[describer]\nmodel = "llava"\nurl = "{url}"\n')
    with pytest.raises(SettingsError, match=r"settings\.toml, line 3: .* is not right for .describer\.url"):
        load_settings()


def test_a_wrong_describer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[describer]\nadress = "http://localhost"\n')
    with pytest.raises(SettingsError, match='line 2: unknown key "adress"'):
        load_settings()
    write("")
    monkeypatch.setenv("VCD_DESCRIBER", '{"timeout": 0}')
    with pytest.raises(SettingsError, match=r"VCD_DESCRIBER, .0. is not right for .describer\.timeout"):
        load_settings()
    monkeypatch.setenv("VCD_DESCRIBER", "http://localhost")
    with pytest.raises(SettingsError, match="VCD_DESCRIBER cannot be read; write it as JSON"):
        load_settings()
