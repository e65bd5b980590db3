"""Changes as they happen: the one reader of the server's events, and what renews a page from it."""

import asyncio
import queue
import threading

import pytest
from bokeh.document import Document

from apsis_nb.client import ServerDown
from apsis_nb.views import live
from apsis_nb.views.live import Feed, Renewal

PATIENCE_S = 30.0


@pytest.fixture
def feed(client):
    feed = Feed(client)
    yield feed
    feed.close()


def heard_until(heard, wanted):
    """The first event that is wanted."""
    while True:
        event = heard.get(timeout=PATIENCE_S)
        if wanted(event):
            return event


def test_everyone_who_listens_hears_of_a_run(feed, client):
    one, other = queue.Queue(), queue.Queue()
    feed.listen(one.put)
    feed.listen(other.put)

    run = client.schedule("heard/fails")
    for heard in (one, other):
        event = heard_until(
            heard, lambda e: e.facts.get("run_id") == run.run_id and e.facts["state"] == "failure"
        )
        assert event.type == "run"
    assert feed.link == "live"


def test_it_knows_whether_anything_runs(feed, client):
    heard, later = queue.Queue(), queue.Queue()
    feed.listen(heard.put)
    run = client.schedule("asked/sleeps", name="known")
    heard_until(heard, lambda e: e.facts.get("run_id") == run.run_id and e.facts["state"] == "running")
    assert feed.is_running

    other = Feed(client)  # and one that comes when it runs already
    other.listen(later.put)
    heard_until(later, lambda e: e.type != "disconnected")
    assert other.is_running
    other.close()


def test_who_leaves_hears_no_more(feed, client):
    left, stayed = queue.Queue(), queue.Queue()
    leave = feed.listen(left.put)
    feed.listen(stayed.put)
    leave()

    run = client.schedule("heard/fails")
    heard_until(stayed, lambda e: e.facts.get("run_id") == run.run_id)
    assert left.empty()


class Shown:
    """A page's part, which counts how often it was loaded and drawn; its document has no browser."""

    def __init__(self, load):
        self.doc = Document()
        self.load, self.loaded = load, 0
        self.drawn: list[object] = []
        self.errors: list[object] = []
        self.changed = asyncio.Event()

    def renewal(self, **more):
        return Renewal(self.doc, self._load, self._draw, self._fail, **more)

    def _load(self):
        self.loaded += 1
        return self.load()

    def _draw(self, answer):
        self.drawn.append(answer)
        self.changed.set()

    def _fail(self, error):
        self.errors.append(error)
        self.changed.set()

    async def next(self):
        """Do what was asked of the document, as its server would, until something was drawn."""
        self.changed.clear()
        while not self.changed.is_set():
            for callback in list(self.doc.session_callbacks):
                self.doc.callbacks.remove_session_callback(callback)
                callback.callback()
            await asyncio.sleep(0.01)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))


def test_a_part_is_drawn_at_once_and_again_when_something_changed():
    async def scenario():
        page = Shown(iter("ab").__next__)
        renewal = page.renewal()
        await page.next()
        threading.Thread(target=renewal.poke).start()
        await page.next()
        renewal.close()
        assert page.drawn == ["a", "b"]

    run(scenario())


def test_what_the_reader_wants_waits_for_no_pause(monkeypatch):
    monkeypatch.setattr(live, "LEAST_PAUSE_S", 10 * PATIENCE_S)

    async def scenario():
        page = Shown(iter("ab").__next__)
        renewal = page.renewal()
        await page.next()
        renewal.poke_here()
        await page.next()
        renewal.close()
        assert page.drawn == ["a", "b"]

    run(scenario())


def test_what_changes_while_the_page_is_still_made_is_asked_for_again():
    async def scenario():
        page = Shown(iter("ab").__next__)
        renewal = page.renewal()
        told = threading.Thread(target=renewal.poke)
        told.start()
        told.join()  # before the page's own thread has done anything more
        await page.next()
        await page.next()
        renewal.close()
        assert page.drawn == ["a", "b"]

    run(scenario())


def test_a_flood_of_changes_is_one_renewal():
    async def scenario():
        page = Shown(lambda: 1)
        renewal = page.renewal()
        await page.next()
        for _ in range(1000):
            renewal.poke()
        await page.next()
        assert page.loaded == 2
        renewal.close()

    run(scenario())


def test_what_went_wrong_is_drawn_and_taken_away_again():
    answers = iter([ServerDown("nobody answers"), "here again"])

    def load():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def scenario():
        page = Shown(load)
        renewal = page.renewal()
        await page.next()
        assert [str(error) for error in page.errors] == ["nobody answers"]
        while not page.drawn:
            await page.next()
        renewal.close()
        assert page.errors[-1] is None
        assert page.drawn == ["here again"]

    run(scenario())


def test_a_hidden_page_is_not_renewed_until_it_is_seen():
    async def scenario():
        page = Shown(lambda: 1)
        renewal = page.renewal()
        await page.next()
        renewal.set_visible(False)
        renewal.poke()
        other = Shown(lambda: 2)  # while this one is drawn twice, the hidden one could have been
        seen = other.renewal(every_s=0.01)
        await other.next()
        await other.next()
        assert page.loaded == 1

        renewal.set_visible(True)
        await page.next()
        assert page.loaded == 2
        renewal.close()
        seen.close()

    run(scenario())
