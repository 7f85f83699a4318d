"""The judges that travel in a pack: pocket's oracle, its CLIP and its DINO."""

from __future__ import annotations

import torch

from vcd_studio.catalog.packs import Pack
from vcd_studio.evaluation.encoders import ImageEncoder, ImageTextEncoder
from vcd_studio.evaluation.metrics import Encoders
from vcd_studio.method.protocols import MethodError
from vcd_studio.models.oracle import Oracle

PARTS = ("oracle", "clip", "dino")


def load_judges(pack: Pack, device: torch.device, clip: str = "", dino: str = "") -> tuple[Oracle, Encoders]:
    """The oracle and the encoders of a pack; ``clip`` and ``dino`` (folders or hub names) stand in for its own.

    MethodError names what is missing.
    """
    given = {"oracle": "", "clip": clip, "dino": dino}
    missing = [name for name in PARTS if pack.part(name) is None and not given[name]]
    if missing:
        remedy = "run the study on the pack pocket" if "oracle" in missing else f"give {' and '.join(f'--{name}' for name in missing)}"
        raise MethodError(f'The pack "{pack.name}" has no {", ".join(missing)} to judge clips with; {remedy}.')
    oracle = Oracle.from_pretrained(pack.part("oracle"), torch_dtype=torch.float32).to(device).eval()
    places = [given[name] or pack.part(name) or "" for name in ("clip", "dino")]
    return oracle, Encoders(ImageTextEncoder.load(places[0], device), ImageEncoder.load(places[1], device))
