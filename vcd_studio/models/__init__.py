"""Bringing networks: packs and the adapters that make them fit the method's protocols."""

from vcd_studio.models.packs import Pack, PackMissing, digest, find_pack, hashes, load_pack

__all__ = ["Pack", "PackMissing", "digest", "find_pack", "hashes", "load_pack"]
