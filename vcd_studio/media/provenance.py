"""Every output says how it was made and that it was generated: A1111-style text, and IPTC's digital source type in XMP."""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.sax.saxutils import escape

from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SOFTWARE = "VCD Studio"
XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")  # XMP specification, part 3: MPEG-4 files
LARGEST_TEXT = 4 * 1024 * 1024
_HEAD = (("steps", "Steps"), ("scheduler", "Sampler"), ("guidance", "CFG scale"), ("seed", "Seed"))
_NOT_LISTED = {"prompt", "negative", "width", "height", "parameters", "recipe"}
_USER_COMMENT, _IMAGE_DESCRIPTION, _SOFTWARE_TAG, _EXIF = 0x9286, 0x010E, 0x0131, 0x8769


def parameters_text(recipe: Mapping[str, Any]) -> str:
    """The recipe as A1111 writes it: prompt, negative prompt, then ``Steps: 25, Sampler: ddim, …``; keys in the recipe's order."""
    if "parameters" in recipe:
        return str(recipe["parameters"])
    lines = [str(recipe.get("prompt", ""))]
    if recipe.get("negative"):
        lines.append(f"Negative prompt: {recipe['negative']}")
    parts = [f"{label}: {_quoted(recipe[key])}" for key, label in _HEAD if recipe.get(key) is not None]
    if recipe.get("width") and recipe.get("height"):
        parts.append(f"Size: {recipe['width']}x{recipe['height']}")
    listed = _NOT_LISTED | {key for key, _ in _HEAD}
    rest = {key: value for key, value in recipe.items() if key not in listed and value is not None}
    parts += [f"{key.replace('_', ' ').capitalize()}: {_quoted(value)}" for key, value in rest.items()]
    parts.append(f"Software: {SOFTWARE}")
    return "\n".join([*lines, ", ".join(parts)])


def _quoted(value: Any) -> str:
    """Values with a comma, a colon or a line break are JSON strings, as A1111 reads them back."""
    text = str(value) if not isinstance(value, (list, tuple)) else " ".join(map(str, value))
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n\r") else text


def xmp_packet(recipe: Mapping[str, Any]) -> bytes:
    """An XMP packet (UTF-8) with the digital source type, the software and the parameters."""
    description = escape(_xml_text(parameters_text(recipe)))
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType><xmp:CreatorTool>{SOFTWARE}</xmp:CreatorTool>"
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode("utf-8", "replace")


def _xml_text(text: str) -> str:
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def png_info(recipe: Mapping[str, Any]) -> PngInfo:
    """Text chunks for ``Image.save(…, pnginfo=…)``: parameters, the XMP packet, and each key of the recipe as JSON under ``recipe``."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("parameters", _encodable(parameters_text(recipe)))
    info.add_itxt("recipe", recipe_json(recipe))
    info.add_itxt("XML:com.adobe.xmp", xmp_packet(recipe).decode("utf-8"))
    return info


def picture_options(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Options for ``Image.save`` to WebP or JPEG: EXIF (the parameters as user comment) and XMP."""
    from PIL import Image

    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = recipe_json(recipe)
    exif[_SOFTWARE_TAG] = SOFTWARE
    exif.get_ifd(_EXIF)[_USER_COMMENT] = b"UNICODE\x00" + _encodable(parameters_text(recipe)).encode("utf-16-be")
    return {"exif": exif.tobytes(), "xmp": xmp_packet(recipe)}


def video_tags(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Tags for an mp4: the parameters as comment, the recipe as JSON, the source type."""
    return {
        "comment": _encodable(parameters_text(recipe)),
        "recipe": recipe_json(recipe),
        "encoder_software": SOFTWARE,
        "digital_source_type": SOURCE_TYPE,
    }


def recipe_json(recipe: Mapping[str, Any]) -> str:
    """The recipe as one line of ASCII JSON; values JSON has no word for become text."""
    return json.dumps({str(key): value for key, value in recipe.items()}, default=str, sort_keys=True)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def mark_video(path: Path, recipe: Mapping[str, Any]) -> None:
    """Append the XMP box to an mp4 (readers that do not know it skip it)."""
    packet = xmp_packet(recipe)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s16s", 24 + len(packet), b"uuid", XMP_BOX.bytes) + packet)


def mark_gif(data: bytes, recipe: Mapping[str, Any]) -> bytes:
    """A GIF's bytes with the XMP packet as an application extension before its end."""
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"  # the specification's way out for readers that count sub-blocks
    return data[:-1] + b"\x21\xff\x0bXMP DataXMP" + xmp_packet(recipe) + trailer + data[-1:]


def read_recipe(path: Path) -> dict[str, str]:
    """What a png, webp, gif or mp4 says about itself: parameters, recipe (JSON), digital_source_type, as far as they are there.

    Text from outside: show it through ``plain``. InputError if the file is none of these.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
        if head[4:8] == b"ftyp":
            return _read_mp4(path)
        return _read_picture(path)
    except (OSError, ValueError, SyntaxError, struct.error, EOFError) as error:
        raise InputError(f"{plain(str(path))} cannot be read as a clip or picture; give a whole mp4, webp, gif or png.") from error


def _read_mp4(path: Path) -> dict[str, str]:
    from vcd_studio.media.video import read_metadata

    tags = read_metadata(path)
    found = {"parameters": tags["comment"]} if "comment" in tags else {}
    found.update({key: tags[key] for key in ("recipe", "digital_source_type") if key in tags})
    with path.open("rb") as file:
        packet = next((file.read(min(size, LARGEST_TEXT)) for kind, size in _boxes(file) if kind == XMP_BOX.bytes), b"")
    return {**found, **_from_xmp(packet)}


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(type or uuid, size of the content) of each top-level box, the file standing at its content."""
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        header = 8
        if size == 1:
            size, header = struct.unpack(">Q", file.read(8))[0], 16
        start = file.tell() - header
        if kind == b"uuid":
            kind, header = file.read(16), header + 16
        if size < header:  # 0 is "to the end of the file", anything else is broken
            return
        yield kind, size - header
        file.seek(start + size)


def _read_picture(path: Path) -> dict[str, str]:
    from PIL import Image

    with Image.open(path, formats=["PNG", "WEBP", "GIF", "JPEG"]) as image:
        info = {str(key): value for key, value in image.info.items()}
        if image.format in ("WEBP", "JPEG"):
            info.update(_from_exif(image))
        if image.format == "GIF":
            info["xmp"] = _gif_xmp(path.read_bytes()[-LARGEST_TEXT:])
    found = {key: str(info[key])[:LARGEST_TEXT] for key in ("parameters", "recipe") if isinstance(info.get(key), str)}
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    return {**_from_xmp(xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp), **found}


def _from_exif(image: Image.Image) -> dict[str, str]:
    exif = image.getexif()
    comment = exif.get_ifd(_EXIF).get(_USER_COMMENT, b"")
    found = {"recipe": str(exif[_IMAGE_DESCRIPTION])} if _IMAGE_DESCRIPTION in exif else {}
    if isinstance(comment, bytes) and comment.startswith(b"UNICODE\x00"):
        found["parameters"] = comment[8:].decode("utf-16-be", "replace")
    return found


def _gif_xmp(data: bytes) -> bytes:
    start, end = data.find(b"XMP DataXMP"), data.rfind(b'<?xpacket end="r"?>')
    return data[start + 11 : end] if 0 <= start < end else b""


def _from_xmp(packet: bytes) -> dict[str, str]:
    """No XML parser is set on text from outside: two patterns are enough for what we wrote."""
    from xml.sax.saxutils import unescape

    text = packet.decode("utf-8", "replace")
    found = {}
    if source := re.search(r"DigitalSourceType>([^<]{1,200})<", text):
        found["digital_source_type"] = source.group(1)
    if description := re.search(r"<dc:description><rdf:Alt><rdf:li[^>]*>([^<]*)<", text):
        found["parameters"] = unescape(description.group(1))
    return found
