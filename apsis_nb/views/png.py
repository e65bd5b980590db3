"""A page as a picture, made by a browser that the machine has."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from apsis_nb.core.errors import ApsisError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "chrome",
)
PATIENCE_S = 60
_FLAGS = (
    "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--force-device-scale-factor=2",
    "--virtual-time-budget=5000",  # until the page has drawn itself; it is not waited for that long
)  # fmt: skip


def find_browser() -> str:
    """The path of a browser.

    Raises:
        ApsisError: there is none.
    """
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    raise ApsisError(
        "a PNG is made by Chromium, Chrome or Edge, and none of them is on the PATH: install one, save as "
        ".html, or save the PNG from the dashboards"
    )


def write_png(page: str, file: Path, *, width: int, height: int) -> None:
    """Write a page of HTML as a PNG, of two pixels to each of the page's.

    Args:
        page: which needs no network.
        file: where to.
        width, height: of the window, in the page's pixels.

    Raises:
        ApsisError: there is no browser, or it made no picture.
    """
    browser = find_browser()
    # The administrator's browser does not start in its own sandbox; the page is ours.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with TemporaryDirectory() as folder:
        source, shot = Path(folder, "page.html"), Path(folder, "page.png")
        source.write_text(page, encoding="utf-8")
        told = [
            f"--window-size={width},{height}",
            f"--user-data-dir={folder}/profile",
            f"--screenshot={shot}",
        ]
        command = [browser, *_FLAGS, *sandbox, *told, source.as_uri()]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except subprocess.TimeoutExpired:
            raise ApsisError(f"{browser} made no picture within {PATIENCE_S} s") from None
        if not shot.exists():
            last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ApsisError(f"{browser} made no picture: {last}")
        shutil.copyfile(shot, file)
