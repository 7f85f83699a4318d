"""``python -m vcd_studio.worker --device auto|cpu|cuda:N [--once] [--kept PID]``"""

import sys

from vcd_studio.worker.loop import main

if __name__ == "__main__":
    sys.exit(main())
