"""Which pages there are, how the navigation names them, and where their files are."""

from functools import cache
from pathlib import Path

#: The pages by name, which is that of their file, and their titles, in the order of the navigation.
PAGES: dict[str, str] = {
    "overview": "Overview",
    "timeline": "Timeline",
    "schedule": "Schedule",
    "late": "Late and missed",
    "history": "History",
    "jobs": "Jobs",
    "job": "Job",
    "run": "Run",
    "adhoc": "Ad hoc",
}
#: Those that one comes to from elsewhere: about one job or run, or a dialog of every page.
_BY_THE_WAY = frozenset({"job", "run", "adhoc"})


def pages_folder() -> Path:
    """Where the pages' files are: in the package of a wheel, else at the top of the checkout.

    Raises:
        FileNotFoundError: neither has them.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_dashboards", package.parent / "dashboards"):
        if (folder / "overview.py").is_file():
            return folder
    raise FileNotFoundError(
        f"the dashboards are missing: neither {package}/_dashboards nor dashboards/ beside it"
    )


@cache
def page_files() -> dict[str, Path]:
    """The files of the pages by name.

    Raises:
        FileNotFoundError: there are none.
    """
    files = {page: pages_folder() / f"{page}.py" for page in PAGES}
    return {page: file for page, file in files.items() if file.is_file()}


def navigation() -> list[tuple[str, str]]:
    """Name and title of the pages that the head of each page leads to."""
    return [(page, PAGES[page]) for page in page_files() if page not in _BY_THE_WAY]
