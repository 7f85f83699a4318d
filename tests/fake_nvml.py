"""A stand-in for NVIDIA's management library, for machines with other cards than a test wants, or none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

GIB = 2**30


class FakeNvml:
    """``pynvml`` as far as it is asked. ``refuse``: the functions that answer with an error."""

    NVML_DEVICE_MIG_ENABLE, NVML_TEMPERATURE_GPU = 1, 0

    class NVMLError(Exception):
        pass

    def __init__(self, *cards: dict[str, Any], refuse: dict[str, str] | None = None) -> None:
        self.cards, self.refuse, self.users = cards, refuse or {}, 0

    def __getattr__(self, name: str) -> Any:
        def ask(*about: Any) -> Any:
            if name in self.refuse:
                raise self.NVMLError(self.refuse[name])
            return getattr(self, f"_{name.removeprefix('nvml')}")(*about)

        return ask

    def _Init(self) -> None:
        self.users += 1

    def _Shutdown(self) -> None:
        self.users -= 1

    def _DeviceGetCount(self) -> int:
        return len(self.cards)

    def _SystemGetDriverVersion(self) -> str:
        return "580.95"

    def _DeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self._given(self.cards[index])

    def _given(self, card: dict[str, Any]) -> dict[str, Any]:
        if "lost" in card:
            raise self.NVMLError(card["lost"])
        return card

    def _DeviceGetUUID(self, card: dict[str, Any]) -> str:
        return str(card["uuid"])

    def _DeviceGetName(self, card: dict[str, Any]) -> str:
        return bytes(card.get("name", b"A card")).decode()

    def _DeviceGetMemoryInfo(self, card: dict[str, Any]) -> Any:
        total, free = card.get("memory", (24 * GIB, 20 * GIB))
        return SimpleNamespace(total=total, free=free)

    def _DeviceGetTemperature(self, card: dict[str, Any], sensor: int) -> int:
        return 61

    def _DeviceGetUtilizationRates(self, card: dict[str, Any]) -> Any:
        if "slices" in card:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(gpu=97)

    def _DeviceGetMigMode(self, card: dict[str, Any]) -> list[int]:
        return [1, 1] if "slices" in card else [0, 0]

    def _DeviceGetMaxMigDeviceCount(self, card: dict[str, Any]) -> int:
        return 7

    def _DeviceGetMigDeviceHandleByIndex(self, card: dict[str, Any], at: int) -> dict[str, Any]:
        if at not in card["slices"]:
            raise self.NVMLError("Not Found")
        found: dict[str, Any] = card["slices"][at]
        return found

    def _DeviceGetComputeRunningProcesses(self, card: dict[str, Any]) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in card.get("compute", ())]

    def _DeviceGetGraphicsRunningProcesses(self, card: dict[str, Any]) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in card.get("graphics", ())]

    def _SystemGetProcessName(self, pid: int) -> str:
        if pid == 404:
            raise self.NVMLError("Not Found")
        return f"program-{pid}"
