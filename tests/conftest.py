"""What all tests share: how a test says which tool it needs, and how much Hypothesis tries."""

import os
import shutil
from collections.abc import Generator

import pytest
from hypothesis import settings

CI = os.environ.get("CI") == "true"

# No deadline: on a shared machine an example's time says nothing.
settings.register_profile("default", deadline=None)
settings.register_profile("few", deadline=None, max_examples=25)
settings.register_profile("ci", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("ci" if CI else "default")

# One tool may have several names.
_NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome")}


def needs(tool: str) -> str:
    """The path of a program that the calling test cannot do without.

    Without it the test is skipped, with the reason; under CI it fails, as every skip does.
    """
    for name in _NAMES.get(tool, (tool,)):
        path = shutil.which(name)
        if path:
            return path
    pytest.skip(f"{tool} is not installed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser"):
        needs("chromium")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # A run that decides must not pass by leaving tests out. An expected failure is not left out.
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
