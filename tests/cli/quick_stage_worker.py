"""A real worker process whose stages write small files of the right shape without any network. Run by the tests, never shipped.

A job whose settings say {"generation": {"negative": "break"}} fails in its first stage; one that says "wait" steps until told to stop.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np

from vcd_studio.media.frames import save_frames
from vcd_studio.media.sheet import contact_sheet, poster
from vcd_studio.media.video import write_gif, write_video
from vcd_studio.project.errors import InputError
from vcd_studio.project.outputs import write_sidecar
from vcd_studio.project.photos import open_photo, write_mask
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.loop import main

FRAMES = [np.full((16, 16, 3), 40 + 20 * index, dtype=np.uint8) for index in range(4)]


def segment(context: StageContext) -> str:
    identity = context.project.identity(context.settings["identity"])
    found = []
    for number, photo in enumerate(identity.photos(), 1):
        width, height = open_photo(photo.path).size
        write_mask(photo.mask_path, np.ones((height, width), dtype=np.bool_))
        found.append({"name": photo.name, "boxes": [{"score": 0.9}], "chosen": [0], "warnings": []})
        context.step(number, len(identity.photos()), message=photo.name)
    context.note(photos=found)
    return str(identity.masks_dir)


def train(context: StageContext) -> str:
    run = context.project.identity(context.settings["identity"]).new_run()
    for step in range(1, 5):
        context.step(step, 4)
    (run / "tokens.safetensors").write_bytes(b"tokens")
    context.note(tokens=str(run / "tokens.safetensors"), loss=0.25)
    return str(run)


def frames(context: StageContext) -> str:
    if context.settings["generation"]["negative"] == "break":
        raise InputError("The frames broke; mend them.")
    if context.settings["generation"]["negative"] == "wait":
        context.log("waits to be told")
        pulse = threading.Event()
        while True:  # ends by Interrupted
            context.step(1, 4)
            pulse.wait(0.02)
    begun = context.result.get("clip")
    folder = Path(begun) if begun else context.project.new_clip("a clip")
    context.note(clip=str(folder))
    context.step(4, 4)
    stage = folder / "stages" / context.stage.name
    save_frames(stage / "frames", FRAMES)
    write_video(stage / "clip.mp4", FRAMES, 8)
    return str(stage)


def save(context: StageContext) -> str:
    folder, settings = Path(context.result["clip"]), context.settings
    recipe = {"prompt": settings["prompt"], "seed": settings["seed"], "fps": 8, "frames": 4, "width": 16, "height": 16}
    write_video(folder / "clip.mp4", FRAMES, 8, recipe)
    write_gif(folder / "clip.gif", FRAMES, 8, recipe)
    poster(FRAMES).save(folder / "poster.png")
    contact_sheet(FRAMES).save(folder / "contact-sheet.png")
    write_sidecar(folder, {**recipe, "written": settings["written"], "pack": settings["pack"], "identities": [{"name": "rex"}]})
    return str(folder)


if __name__ == "__main__":
    sys.exit(main(stages={"segment": segment, "train": train, "t2v": frames, "face": frames, "tiled": frames, "save": save}))
