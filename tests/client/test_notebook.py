"""What a notebook gets: the client of `ap.connect`, and pictures that need no network."""

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx2
import pytest
from PIL import Image

import apsis_nb as ap
from apsis_nb.client import BadRequest, Client, NotAuthorized, RequestRefused, ServerDown
from apsis_nb.notebook import NotebookClient
from tests.client.serving import Served
from tests.conftest import needs


def fetched(page: str) -> list[str]:
    """What a browser would fetch for a page."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(str(value) for name, value in attrs if name in {"src", "href"})

    Reader().feed(page)
    return found


@pytest.fixture
def notebook(server: Served) -> NotebookClient:
    return ap.connect(server.url, server.token)


def test_connect_gives_a_client_that_draws(notebook: NotebookClient):
    assert isinstance(notebook, Client)
    assert "greet/hello" in notebook.jobs


def test_connect_tells_at_once_what_is_wrong(server: Served):
    with pytest.raises(NotAuthorized):
        ap.connect(server.url, "wrong")
    with pytest.raises(ServerDown):
        ap.connect("http://127.0.0.1:1", "t")


def test_the_timeline_is_a_picture_that_loads_nothing(notebook: NotebookClient, tmp_path: Path):
    notebook.schedule("greet/hello").wait(20)
    picture = notebook.timeline(since="1h", job=["greet/hello"])
    picture.save(tmp_path / "timeline.html")
    page = (tmp_path / "timeline.html").read_text()
    assert "greet/hello" in page
    assert fetched(page) == []
    cell = picture._repr_html_()
    assert cell.startswith("<iframe srcdoc=")
    assert "<script" not in cell, "the page stays within its frame"

    with pytest.raises(BadRequest, match=r"saved as x\.html or x\.png"):
        picture.save(tmp_path / "timeline.pdf")


def test_a_picture_is_painted_as_a_png(notebook: NotebookClient, tmp_path: Path):
    needs("chromium")
    notebook.schedule("greet/hello").wait(20)
    notebook.timeline(since="1h", job="greet/hello", dark=True).save(tmp_path / "x.png", width=640, scale=1.5)
    with Image.open(tmp_path / "x.png") as png:
        assert png.size == (960, 1.5 * notebook.timeline(since="1h", job="greet/hello").figure.height)
        colours = png.convert("RGB").getcolors(1 << 20)
    assert max(colours)[1] == (0x17, 0x19, 0x1E), "the paper of a dark one"
    assert len(colours) > 20, "words, lines and a bar"


def test_without_a_browser_a_png_is_refused_in_words(
    notebook: NotebookClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestRefused, match="none is found: install Chromium"):
        notebook.timeline().save(tmp_path / "x.png")
    (tmp_path / "chromium").write_text("#!/bin/sh\necho cannot open display >&2; exit 1\n")
    (tmp_path / "chromium").chmod(0o755)
    with pytest.raises(RequestRefused, match="painted nothing \\(cannot open display\\)"):
        notebook.timeline().save(tmp_path / "x.png")
    with pytest.raises(BadRequest, match="100 to 10000 pixels"):
        notebook.timeline().save(tmp_path / "x.png", width=10)


def test_a_job_draws_its_trends_as_pages_that_load_nothing(notebook: NotebookClient, tmp_path: Path):
    job = notebook.jobs["greet/hello"]
    job.schedule().wait(20)
    for name, picture in (
        ("durations", job.plot.durations(unit="hour")),
        ("lateness", job.plot.lateness(dark=True)),
        ("counts", job.plot.counts(unit="hour")),
    ):
        picture.save(tmp_path / f"{name}.html")
        page = (tmp_path / f"{name}.html").read_text()
        assert ("success" if name == "counts" else "greet/hello") in page
        assert fetched(page) == []
        assert ("no runs in this time" in page) == (name == "lateness"), "no schedule made a run of it"


def test_a_calendar_counts_days_and_says_what_it_cannot_count(notebook: NotebookClient):
    notebook.schedule("greet/hello").wait(20)
    shown = notebook.jobs["greet/hello"].plot.calendar("8d")._repr_html_()
    assert re.search(r"title='\w{3} \d+ \w{3} 20\d\d: [1-9]\d* runs'", shown), "today"
    assert shown.count("<td title=") == 9
    assert fetched(shown) == []
    assert "0 failures" in notebook.calendar("1d", job="greet/hello", of="failed")._repr_html_()
    with pytest.raises(BadRequest, match="runs, failed, late, skipped are"):
        notebook.calendar(of="success")
    with pytest.raises(BadRequest, match="at most 370 days"):
        notebook.calendar("500d")


def test_a_client_may_use_a_connection_of_ones_own(server: Served):
    with httpx2.Client(base_url=server.url) as http:
        client = Client(token=server.token, http=http)
        assert client.url == server.url
        assert client.version()["tz"] == "Europe/London"
