"""What each stage of a job does. A stage's module is imported when it first runs, so that this table costs no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from vcd_studio.catalog.headers import WeightsError
from vcd_studio.project.errors import InputError
from vcd_studio.worker.context import StageContext


def _stage(module: str) -> Callable[[StageContext], str | None]:
    def run(context: StageContext) -> str | None:
        from vcd_studio.method.protocols import MethodError

        work: Callable[[StageContext], str | None] = importlib.import_module(f"{__name__}.{module}").run
        try:
            return work(context)
        except (MethodError, WeightsError) as error:
            raise InputError(str(error)) from error

    return run


STAGES: Mapping[str, Callable[[StageContext], str | None]] = MappingProxyType(
    {
        "segment": _stage("segment"),
        "train": _stage("train"),
        "t2v": _stage("text_to_video"),
        "face": _stage("face"),
        "tiled": _stage("tiled"),
        "save": _stage("save"),
        "evaluate": _stage("evaluate"),
    }
)
