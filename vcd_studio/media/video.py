"""Frames to and from mp4, gif and webp. A frame is uint8 (height, width, 3), RGB. Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vcd_studio.media import provenance
from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import reason, write_atomic
from vcd_studio.project.text import plain

if TYPE_CHECKING:
    from PIL import Image

Frame = npt.NDArray[np.uint8]
# CRF 12: no visible loss. Without mbtree=0 about one file in a hundred differed though its frames did not (x264's vector code there).
ENCODER = {"crf": "12", "preset": "medium", "x264-params": "mbtree=0"}
MOST_FRAMES = 4096
LARGEST_SIDE = 8192


def write_video(path: Path, frames: Iterable[Frame], fps: float, metadata: Mapping[str, Any] | None = None) -> None:
    """Write an mp4 (H.264, yuv420p, playable anywhere) with the recipe in it; odd sides get their last row or column twice.

    One thread, so that the same frames give the same bytes. InputError if the file cannot be written.
    """
    recipe = dict(metadata or {})
    with _beside(path, ".mp4") as part:
        _encode(part, _checked(frames), fps, provenance.video_tags(recipe))
        provenance.mark_video(part, recipe)


def _encode(path: Path, frames: Iterator[Frame], fps: float, tags: Mapping[str, str]) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    height, width = first.shape[:2]
    with av.open(str(path), "w", format="mp4", options={"movflags": "use_metadata_tags+faststart"}) as container:
        for key, value in tags.items():
            container.metadata[key] = value
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries = context.color_trc = 1  # BT.709, as the matrix
        for picture in _chain(first, frames):
            even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _chain(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from rest


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    size: tuple[int, ...] | None = None
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is uint8 (height, width, 3), not {frame.dtype} {frame.shape}")
        size = size or frame.shape
        if frame.shape != size:
            raise ValueError(f"the frames of a clip have one size, not {size} and {frame.shape}")
        yield frame


def read_video(path: Path, *, most: int = MOST_FRAMES) -> tuple[list[Frame], float]:
    """The frames and the frames per second; InputError if it is no video, has more than ``most`` frames or is absurdly large."""
    import av

    frames: list[Frame] = []
    try:
        if not path.is_file():
            raise InputError(f"The video {plain(str(path))} is not there; check the path.")
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise InputError(f"The file {plain(str(path))} has no picture track; give a video.")
            stream = container.streams.video[0]
            if max(stream.width, stream.height) > LARGEST_SIDE:
                size = f"{stream.width} x {stream.height}"
                raise InputError(f"The video {plain(str(path))} has {size} pixels; scale it below {LARGEST_SIDE}.")
            fps = float(stream.average_rate or stream.guessed_rate or 8)
            for frame in container.decode(stream):
                if len(frames) == most:
                    raise InputError(f"The video {plain(str(path))} has more than {most} frames; cut it first.")
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))
    except (av.FFmpegError, ValueError, AttributeError) as error:  # a track without a decoder has no size at all
        raise InputError(f"The file {plain(str(path))} cannot be read as a video; give a whole mp4, webm or gif.") from error
    except OSError as error:
        raise InputError(f"The video {plain(str(path))} cannot be read ({reason(error)}); check its permissions.") from error
    if not frames:
        raise InputError(f"The video {plain(str(path))} has no frames; give another one.")
    return frames, fps


def read_metadata(path: Path) -> dict[str, str]:
    """The text tags of a video; InputError if it is none. Text from outside: show it through ``plain``."""
    import av

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            return {str(key): str(value) for key, value in container.metadata.items()}
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"The file {plain(str(path))} cannot be read as a video; give a whole mp4.") from error


def write_gif(path: Path, frames: Iterable[Frame], fps: float, metadata: Mapping[str, Any] | None = None) -> None:
    """Write an endless GIF, one palette for all frames (no flicker)."""
    from PIL import Image

    pictures = _pictures(frames)
    shared = _shared_palette(pictures)
    paletted = [picture.quantize(palette=shared, dither=Image.Dither.NONE) for picture in pictures]
    data = _saved(paletted, "GIF", fps, {"optimize": False, "disposal": 1})
    write_atomic(path, provenance.mark_gif(data, metadata or {}))


def write_webp(path: Path, frames: Iterable[Frame], fps: float, metadata: Mapping[str, Any] | None = None, *, quality: int = 90) -> None:
    """Write an endless animated WebP."""
    options = {"quality": quality, "method": 4, **provenance.picture_options(metadata or {})}
    write_atomic(path, _saved(_pictures(frames), "WEBP", fps, options))


def _pictures(frames: Iterable[Frame]) -> list[Image.Image]:
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in _checked(frames)]
    if not pictures:
        raise ValueError("a video needs at least one frame")
    return pictures


def _shared_palette(pictures: list[Image.Image]) -> Image.Image:
    """256 colours for a strip of up to 16 of the frames."""
    from PIL import Image

    chosen = pictures[:: max(1, len(pictures) // 16)][:16]
    width, height = chosen[0].size
    strip = Image.new("RGB", (width, height * len(chosen)))
    for index, picture in enumerate(chosen):
        strip.paste(picture, (0, index * height))
    return strip.quantize(256, method=Image.Quantize.MEDIANCUT)


def _saved(pictures: list[Image.Image], format_name: str, fps: float, options: Mapping[str, Any]) -> bytes:
    import io

    buffer = io.BytesIO()
    duration = max(10, round(1000 / fps))
    pictures[0].save(buffer, format_name, save_all=True, append_images=pictures[1:], duration=duration, loop=0, **options)
    return buffer.getvalue()


@contextlib.contextmanager
def _beside(path: Path, suffix: str) -> Iterator[Path]:
    """A file to write beside ``path``, moved over it when all went well and removed when not."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f".part{suffix}", dir=path.parent)
        os.close(handle)
        part = Path(name)
        try:
            yield part
            part.chmod(path.parent.stat().st_mode & 0o666)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{plain(str(path))} cannot be written ({reason(error)}); make its folder writable or free some space.") from error
