"""What lies on disk and what a pack needs: files of weights told by their keys, packs by their parts. Plain data, no torch."""
