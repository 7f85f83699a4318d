"""Frames to and from mp4, gif, webp and png; embedded recipes; contact sheets, overlays, thumbnails. No torch."""
