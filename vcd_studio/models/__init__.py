"""Bringing networks: packs and the adapters that make them fit the method's protocols."""

from vcd_studio.models.packs import load_pack

__all__ = ["load_pack"]
