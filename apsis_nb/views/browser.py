"""A browser of this machine, which paints a page into a file; nobody sees a window."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from apsis_nb.client import RequestRefused

#: What can paint, by the names of the programs; and where it lies on macOS, which has it not on the path.
NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge",
    "microsoft-edge", "brave-browser",
)  # fmt: skip
APPLICATIONS = ("Google Chrome", "Chromium", "Microsoft Edge", "Brave Browser")
PATIENCE_S = 60.0
#: The page has so long to draw, of its own time, which passes as soon as there is nothing to do.
DRAWING_MS = 5000
#: Pixels that the window is larger than the picture: some browsers keep a part for what they do not show.
MORE_PX = 200


def find_browser() -> str:
    """The path of a browser that can paint.

    Raises:
        RequestRefused: there is none.
    """
    found = [path for name in NAMES if (path := shutil.which(name))]
    if sys.platform == "darwin":
        programs = (f"/Applications/{name}.app/Contents/MacOS/{name}" for name in APPLICATIONS)
        found += [path for path in programs if Path(path).is_file()]
    if not found:
        raise RequestRefused(
            "a PNG is painted by a browser, and none is found: install Chromium, Chrome or Edge, or save "
            'as a page: save("x.html")'
        )
    return found[0]


def paint(page: str, file: Path, *, width: int, height: int, scale: float) -> None:
    """Paint a page as a PNG.

    Args:
        page: HTML that needs nothing but itself.
        file: to be written, or replaced.
        width, height: of the part that is kept, in pixels of the page.
        scale: pixels of the PNG for each of them.

    Raises:
        RequestRefused: there is no browser, or it paints nothing.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="apsis-nb-") as folder:
        source, picture = Path(folder) / "page.html", Path(folder) / "page.png"
        source.write_text(page, encoding="utf-8")
        command = [
            browser, "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage",
            f"--user-data-dir={folder}/profile", f"--window-size={width},{height + MORE_PX}",
            f"--force-device-scale-factor={scale:g}", f"--virtual-time-budget={DRAWING_MS}",
            f"--screenshot={picture}", source.as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # root has none; and the page is our own
        try:
            told = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            raise RequestRefused(
                f"{browser} painted nothing within {PATIENCE_S:g} s: save as a page instead"
            ) from None
        if not picture.is_file():
            said = (told.stderr.strip().splitlines() or [f"exit code {told.returncode}"])[-1]
            raise RequestRefused(f"{browser} painted nothing ({said}): save as a page instead")
        with Image.open(picture) as png:
            png.crop((0, 0, round(width * scale), round(height * scale))).save(file, format="PNG")
