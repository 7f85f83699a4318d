"""VCD Studio: short videos of exactly one person, pet or object, from a handful of photos and a text prompt."""

__version__ = "0.1.0"
