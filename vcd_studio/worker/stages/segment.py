"""Masks for an identity's photos: grounding, segmenting, one PNG beside each photo."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vcd_studio.method.protocols import Networks
from vcd_studio.method.segmentation import NothingFound, mask_warnings, segment
from vcd_studio.models.middle import LABEL
from vcd_studio.project.errors import InputError
from vcd_studio.project.found_boxes import FoundBox, FoundBoxes, write_boxes
from vcd_studio.project.identity import Photo
from vcd_studio.project.photos import open_photo, write_mask
from vcd_studio.worker.context import StageContext


def run(context: StageContext) -> str | None:
    identity = context.project.identity(context.settings["identity"])
    wanted = set(context.settings["photos"])
    photos = [photo for photo in identity.photos() if photo.name in wanted and photo.state == "automatic"]
    if not photos:
        raise InputError(f'None of the photos of "{identity.name}" is in the automatic state any more; nothing was changed.')
    networks = context.networks.get(context.settings["pack"], context.log)
    found: list[dict[str, Any]] = []
    context.step(0, len(photos))
    for number, photo in enumerate(photos, 1):
        found.append(mask_photo(context, networks, photo))
        context.step(number, len(photos), message=photo.name)
    context.note(photos=found)
    if not any(entry["boxes"] for entry in found):
        raise InputError(
            f'No "{context.settings["noun"]}" was found in any photo of "{identity.name}"; '
            "try another noun, lower thresholds, or mark photos as whole."
        )
    return str(identity.masks_dir)


def mask_photo(context: StageContext, networks: Networks, photo: Photo) -> dict[str, Any]:
    """Write one photo's mask; its boxes and warnings. A photo in which nothing is found gets none, and the log says so."""
    if networks.grounding is None or networks.segmenter is None:
        raise InputError(
            f'The pack "{context.settings["pack"]}" cannot segment, because it has no grounding or no segmenter; '
            "mark the photos as whole or draw masks."
        )
    thresholds = context.settings["segmentation"]
    pick = context.settings.get("pick", "best")
    entry: dict[str, Any] = {"name": photo.name, "boxes": [], "chosen": [], "warnings": []}
    try:
        result = segment(
            open_photo(photo.path),
            context.settings["noun"],
            networks.grounding,
            networks.segmenter,
            thresholds["box_threshold"],
            thresholds["text_threshold"],
            pick,
        )
    except NothingFound as error:
        entry["warnings"] = [str(error)]
        context.log(f"{photo.name}: {error}", "warning")
        return entry
    write_mask(photo.mask_path, result.mask)
    warnings = mask_warnings(result.mask)
    best = result.boxes[result.chosen[0]]
    context.log(f"{photo.name}: {len(result.boxes)} found, best {best.score:.2f}, mask covers {(result.mask > 127).mean():.0%}")
    if best.label == LABEL:
        warnings = [f"nothing in the pack finds a {context.settings['noun']}, so the mask is of {LABEL}: look at it", *warnings]
    for warning in warnings:
        context.log(f"{photo.name}: {warning}", "warning")
    boxes = [asdict(box) for box in result.boxes]
    found = FoundBoxes(
        noun=context.settings["noun"],
        **thresholds,
        chosen=result.chosen,
        picked=isinstance(pick, list),
        warnings=tuple(warnings),
        box=tuple(FoundBox(**box) for box in boxes),
    )
    write_boxes(photo.mask_path, found)
    return {**entry, "boxes": boxes, "chosen": list(result.chosen), "warnings": warnings}
