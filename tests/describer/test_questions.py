"""What is asked of an identity: its photos, small and without their secrets, and its noun."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.describer.chat_server import answering, knowing, serving
from vcd_studio.describer.client import DescriberError, DescriberOff
from vcd_studio.describer.questions import as_sent, describe_identity, draft_prompts
from vcd_studio.project.errors import InputError
from vcd_studio.project.project import Project
from vcd_studio.settings import DescriberSettings


def test_a_photo_is_sent_upright_small_and_without_its_secrets(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    photo = tmp_path / "large.jpg"
    secrets = {"comment": b"SecretComment", "icc_profile": b"SecretProfile", "xmp": b"SecretXmp"}
    Image.new("RGB", (1600, 800), (200, 30, 30)).save(photo, exif=exif, **secrets)
    assert photo.read_bytes().count(b"Secret") == 4
    sent = as_sent(photo)
    assert b"Secret" not in sent
    with Image.open(io.BytesIO(sent)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (256, 512), "RGB")
        assert not picture.getexif()


def test_a_small_photo_is_not_blown_up(project: Project) -> None:
    with Image.open(io.BytesIO(as_sent(project.identity("rex").photo("0.png").path))) as picture:
        assert picture.size == (40, 30)


def test_as_many_photos_as_wanted_and_none_that_is_left_out(project: Project) -> None:
    rex = project.identity("rex")
    rex.set_mask_state("0.png", "left-out")
    with serving(knowing()) as server:
        found = describe_identity(DescriberSettings(url=server.url, photos=2), rex)
    assert (found.noun, found.coco_class) == ("corgi", "dog")
    (asked,) = server.asked
    reds = []
    for uri in asked.pictures:
        with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))) as picture:
            reds.append(round(picture.getpixel((20, 15))[0] / 40))  # type: ignore[index]
    assert reds == [1, 2]
    assert "teddy bear" in asked.words


def test_drafts_are_asked_for_with_the_noun_and_work_without_photos(project: Project) -> None:
    toy = project.import_identity("toy", "stuffed animal")
    with serving(knowing()) as server:
        prompts = draft_prompts(DescriberSettings(url=server.url), toy, 7)
        with pytest.raises(InputError, match="no photos to describe"):
            describe_identity(DescriberSettings(url=server.url), toy)
    assert prompts[0] == "a <toy> stuffed animal running in the snow"
    (asked,) = server.asked
    assert asked.words.startswith("Write 7 prompts")
    assert "stuffed animal" in asked.words
    assert asked.pictures == []


def test_off_opens_no_photo_and_a_failure_is_passed_on(project: Project) -> None:
    rex = project.identity("rex")
    for photo in rex.photos():
        photo.path.write_text("no picture")
    with pytest.raises(DescriberOff):
        draft_prompts(DescriberSettings(), rex)
    with pytest.raises(DescriberOff):
        describe_identity(DescriberSettings(), rex)
    with pytest.raises(InputError, match="not a picture"):
        describe_identity(DescriberSettings(url="http://127.0.0.1:1/v1"), rex)
    toy = project.import_identity("toy", "toy")
    with serving(answering(500, b"")) as server, pytest.raises(DescriberError, match="500"):
        draft_prompts(DescriberSettings(url=server.url), toy)


def test_no_photo_is_sent_of_who_did_not_agree(project: Project, tmp_path: Path) -> None:
    ada = project.add_identity("ada", "woman", [tmp_path / "camera"], consent=False)
    with serving(knowing()) as server:
        for ask in (describe_identity, draft_prompts):
            with pytest.raises(InputError, match="did not agree"):
                ask(DescriberSettings(url=server.url), ada)
    assert server.asked == []
