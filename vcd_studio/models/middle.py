"""Where a pack has a segmenter but nothing that finds what a noun names: the subject is taken to fill the middle of its photo."""

from __future__ import annotations

from PIL import Image

from vcd_studio.method.protocols import Box

RIM = 0.1
"""Share of the picture left out on each side. By MobileSAM, on ten photos of a dog, a cat and a backpack, nine masks were right by eye; at
0.05 six, at 0.02 two: a box that is the whole picture is the background's as much."""
LABEL = "the middle of the picture"


class MiddleOfPicture:
    """Grounding that does not look: one box, whatever the noun."""

    def ground(self, image: Image.Image, noun: str, box_threshold: float = 0.3, text_threshold: float = 0.25) -> list[Box]:
        width, height = image.size
        return [Box(width * RIM, height * RIM, width * (1 - RIM), height * (1 - RIM), 1.0, LABEL)]
