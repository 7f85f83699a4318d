"""A picture of the studio without a terminal: ``python -m vcd_studio.tui.screenshot PROJECT SCREEN OUT.svg`` (the README's is made so)."""

import argparse
import asyncio
from pathlib import Path

from vcd_studio.terminal import Terminal
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.widgets.chrome.lines import PLACES
from vcd_studio.tui.widgets.pictures.picture import Picture

KEYS = {mode: key for key, mode, _ in PLACES}


async def take(project: Path, screen: str, out: Path, size: tuple[int, int], keys: list[str]) -> None:
    """Open ``project`` on ``screen``, press ``keys``, wait until every picture is drawn, and write what is seen as SVG."""
    app = StudioApp(project, Terminal("halfcell"))
    async with app.run_test(size=size) as pilot:

        async def settled() -> None:
            await pilot.pause()
            while not (all(worker.is_finished for worker in app.workers) and all(p.ready for p in app.screen.query(Picture))):
                await pilot.pause(0.02)

        while app.project is None:
            await pilot.pause(0.02)
        for key in [KEYS[screen], *keys]:
            await settled()
            await pilot.press(key)
        await settled()
        out.write_text(app.export_screenshot(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.tui.screenshot", description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("screen", choices=KEYS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="120x36", help="columns × rows")
    parser.add_argument("--keys", default="", help="keys to press there, with commas between: enter,b")
    given = parser.parse_args()
    columns, rows = (int(part) for part in given.size.split("x"))
    asyncio.run(take(given.project, given.screen, given.out, (columns, rows), [key for key in given.keys.split(",") if key]))


if __name__ == "__main__":
    main()
