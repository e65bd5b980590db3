"""The report of a month: one page that needs nothing but itself, and tells the truth."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from apsis_nb.client import BadRequest, Client
from apsis_nb.client.report import Month
from apsis_nb.core.states import State
from apsis_nb.core.times import zone
from apsis_nb.demo.history import make_history
from apsis_nb.store import Store
from tests.client.serving import served
from tests.store.made import a_run, ended, saved

EVIL = "<script>alert('x')</script> & <img src=//evil.example/x>"
UNTIL = datetime(2026, 3, 31, 23, tzinfo=UTC)  # 2026-04-01 in the zone of the server


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("reported")
    (folder / "state").mkdir()
    with Store.open(folder / "state" / "runs.duckdb") as store:
        make_history(store, 3000, until=UNTIL, days=60)
        at = datetime(2026, 3, 15, 12, tzinfo=UTC)
        run = a_run(9000, f"evil/{EVIL}", scheduled_at=at, nominal_at=at, state_at=at)
        bad = ended(run, State.FAILURE, after_s=40_000, message=EVIL, return_code=1)
        store.save([saved(run, is_new=True), saved(bad)]).result(10)
    with served(folder) as server, server.client() as client:
        yield client


class Page(HTMLParser):
    """What a page has: its tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "line", "rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_asks_for_nothing_and_runs_nothing(client: Client):
    page = Page(client.report("2026-03").html)

    assert page.open == []
    assert {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "a", "object"} == set()
    assert not any(name in {"src", "href", "srcset"} for _, attrs in page.tags for name in attrs)
    assert not re.search(r"@import|url\(", client.report("2026-03").html)
    assert EVIL in page.text
    policies = [attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_tells_what_the_history_tells(client: Client):
    page = Page(client.report("2026-03").html)
    text = " ".join(page.text.split())
    start, stop = datetime(2026, 3, 1, tzinfo=client.zone), datetime(2026, 4, 1, tzinfo=client.zone)
    runs = client.runs(since=start, until=stop)

    assert "Runs of March 2026" in text
    assert "Europe/London" in text
    assert f"Runs{len(runs):,}" in page.text
    bad = runs["state"].isin(["failure", "error"])
    assert f"Failed{bad.sum()}" in page.text
    assert page.text.count("exit code") == (runs["message"].str.startswith("exit code", na=False)).sum()
    longest = runs.loc[runs["elapsed_s"].idxmax()]
    assert longest["run_id"] in text
    assert "11h7m" in text  # 40,000 s, the longest
    for job in runs["job_id"].unique():
        assert job in page.text
    # every day of the month has its number, and its runs in the tooltip
    assert sum(int(n.replace(",", "")) for n in re.findall(r"\d+: ([\d,]+) runs", page.text)) == len(runs)


def test_a_month_without_runs_says_so(client: Client):
    text = Page(client.report("2025-02").html).text

    for words in ("No job had a run", "No program ran", "Nothing was late", "Nothing failed"):
        assert words in text
    assert "not over" not in text
    assert "not over" in Page(client.report("2099-01").html).text


def test_it_is_a_file_and_shows_itself(client: Client, tmp_path: Path):
    report = client.report("2026-03")
    report.save(tmp_path / "march.html")

    assert (tmp_path / "march.html").read_text(encoding="utf-8") == report.html
    assert report._repr_html_().startswith("<iframe srcdoc=")
    assert "<script" not in report._repr_html_()
    assert repr(report).startswith("<the report of March 2026")


@pytest.mark.parametrize(
    "text", ["2026", "2026-13", "2026-3", "2026-03-01", "March", "0001-01", "\uff12026-03"]
)
def test_what_is_no_month_is_told(client: Client, text: str):
    with pytest.raises(BadRequest, match="write YYYY-MM"):
        client.report(text)


def test_a_month_is_that_of_the_zone():
    month = Month.of("2026-03", zone("America/New_York"))

    assert month.before == datetime(2026, 2, 1, 5, tzinfo=UTC)
    assert month.start == datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert month.stop == datetime(2026, 4, 1, 4, tzinfo=UTC)
    assert Month.of("2026-12", zone("UTC")).stop == datetime(2027, 1, 1, tzinfo=UTC)
