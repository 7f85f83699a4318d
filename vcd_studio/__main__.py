"""``python -m vcd_studio``: the command line, for where its script is not on the path."""

from vcd_studio.cli import main

if __name__ == "__main__":
    main()
