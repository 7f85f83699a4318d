"""How quick the studio is on this machine: rivals measured side by side in one run, with the floor beside them. ``vcd-studio bench``."""
