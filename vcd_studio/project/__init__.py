"""What lies on disk: projects, identities, photos and masks, prompt lists, outputs. Pure data and files, no torch."""
