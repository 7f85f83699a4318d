"""``python -m vcd_studio.cli``: the command line without its script."""

from vcd_studio.cli import main

if __name__ == "__main__":
    main()
