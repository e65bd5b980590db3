"""One open page of one reader: its client, its frame, and what keeps it up to date."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import panel as pn
from panel_material_ui.template.base import Page as MaterialPage

from apsis_nb.client import Client, NotAuthorized, ServerEvent
from apsis_nb.core.errors import ApsisError

from . import connection, markup, palette
from .adhoc import AdHoc
from .board import Board
from .catalogue import Catalogue, catalogue
from .failures import Failures
from .finder import Finder
from .live import Renewal, change
from .panel_fixes import mend
from .shell import Shell, foot, frame

T = TypeVar("T")

Wants = Callable[[ServerEvent], bool]

NOT_LOADED = "Not loaded."
#: Pages that tell their head themselves what runs of what they are about.
HAVE_OWN_RUNS = frozenset({"overview", "job", "run"})


def anything(event: ServerEvent) -> bool:
    """Every event matters."""
    return True


def _nothing(event: ServerEvent) -> bool:
    """No event matters, but that the server is there again."""
    return False


class _Part(Generic[T]):
    """A part of a page, from when the page is made until it is left."""

    def __init__(self, wants: Wants, begin: Callable[[], Renewal[T]]) -> None:
        self.wants, self._begin = wants, begin
        self.renewal: Renewal[T] | None = None

    def begin(self) -> None:
        """Load and show it, from now on."""
        self.renewal = self._begin()

    def poke(self) -> None:
        """Something changed; may be called by any thread."""
        if self.renewal is not None:
            self.renewal.poke()


class Page:
    """A page that is being shown.

    Args:
        name: of `pages.PAGES`.
        title: of the browser's tab.
        now: the clock; aware.
    """

    def __init__(self, name: str, title: str, now: Callable[[], datetime]) -> None:
        doc = pn.state.curdoc
        if doc is None:
            raise RuntimeError("a page is made while a document is: by `panel serve`, or in a notebook cell")
        mend()
        self.doc = doc
        self.now = connection.clock(now)  #: the present, aware; of a file its end
        self.title = title
        self.has_api = connection.is_behind_server()  #: whether the server's API has the page's own address
        #: What the address says after the question mark.
        self.said = {
            key: values[0].decode(errors="replace") for key, values in pn.state.session_args.items() if values
        }
        self.shell = Shell(page=name, alive="../api/v1/alive" if self.has_api else "")
        self.wrong = Board(visible=False)
        self.adhoc = AdHoc(self)
        self._foot = Board()
        self._whole: MaterialPage | None = None
        self._parts: list[_Part[Any]] = []
        self._has_own_runs = name in HAVE_OWN_RUNS
        self._client: Client | None = None
        self._failures = Failures(doc, lambda told: setattr(self.shell, "failure", told))
        self._leave: Callable[[], None] = lambda: None
        try:
            self._client = connection.page_client()
            self._feed = connection.feed()
            self._catalogue = catalogue()
            self.shell.feed = self._feed.link
        except ApsisError as error:
            self.fail(error)
        self.shell.param.watch(self._hidden, "hidden")
        pn.state.on_session_destroyed(self._destroyed)

    @property
    def client(self) -> Client:
        """The page's client.

        Raises:
            ApsisError: no server was found when the page was made.
        """
        if self._client is None:
            raise ApsisError(
                "no server was found: start one with `apsis-nb serve JOBS`, then load this page again"
            )
        return self._client

    @property
    def catalogue(self) -> Catalogue:
        """What is known of all jobs.

        Raises:
            ApsisError: no server was found when the page was made.
        """
        if self._client is None:
            raise ApsisError("no server was found")
        return self._catalogue

    def show(self, *parts: Any) -> MaterialPage:
        """The whole page. What its parts show is asked for now, while the browser reads the scripts: so most
        of it is there when the page is drawn for the first time.
        """
        if self._client is not None:
            self._leave = self._feed.listen(self._heard)
            self.shell.feed = self._feed.link
            self._turn()
            self.keep(self._client.version, self._sign, wants=_nothing)
            for part in self._parts:
                part.begin()
        dialogs = [Finder(self), *([] if self.adhoc.standing else [self.adhoc])]
        title = f"{self.title} · apsis_nb"
        notes = [self.wrong]
        if (file := connection.file_shown()) is not None:
            words = f"Read only: the runs of {markup.text(file)} as they were when its server stopped."
            notes.append(Board(f'<p class="said" role="status">{words}</p>'))
        self._whole = frame(title, self.shell, [*notes, *parts, self._foot], dialogs)
        return self._whole

    def put_in_address(self, **said: str | None) -> None:
        """Keep the page's state in its address, so that it can be sent; what is empty is left out."""
        kept = {**self.said, **said}
        self.replace_address({key: value for key, value in kept.items() if value})

    def replace_address(self, said: dict[str, str]) -> None:
        """Have the address say this, and nothing else."""
        self.said = said
        location = pn.state.location
        if location is not None:
            search = "?" + urlencode(said) if said else ""
            # The browser tells its own address when it has drawn the page: what it was told before is lost.
            pn.state.onload(lambda: setattr(location, "search", search))

    def keep(
        self,
        load: Callable[[], T],
        show: Callable[[T], Any],
        *,
        wants: Wants = anything,
        every_s: float | None = None,
    ) -> Callable[[], None]:
        """Load and show, now and whenever an event that `wants` it comes.

        Args:
            load: asks the server; called in a thread.
            show: draws the answer.
            wants: looks at an event; called by the reader's thread.
            every_s: also after so many seconds.

        Returns:
            What makes it load again at once.
        """

        def begin() -> Renewal[T]:
            return Renewal(self.doc, load, show, self.fail, every_s=every_s)

        part = _Part(wants, begin)
        self._parts.append(part)

        def again() -> None:
            if part.renewal is not None:
                part.renewal.poke_here()

        return again

    async def act(self, work: Callable[..., T], *args: Any, **more: Any) -> T | None:
        """Ask the server for something in a thread; what goes wrong is shown on the page."""
        try:
            answer = await asyncio.to_thread(partial(work, *args, **more))
        except ApsisError as error:
            self.later(partial(self.fail, error))
            return None
        self.later(partial(self.fail, None))
        return answer

    def fail(self, error: Exception | None) -> None:
        """Say what is wrong, above everything; None: nothing is."""
        if error is None:
            self.wrong.param.update(content="", visible=False)
            return
        words, again = str(error), '<a href="">Load again</a>'
        if isinstance(error, NotAuthorized) and error.status == 401 and self.has_api:
            words, again = "Your session has ended.", '<a href="../login">Log in again</a>'
        elif not isinstance(error, ApsisError):
            words = "A part of this page cannot be shown; the log of the dashboards says why."
        sign = palette.WARNING_SIGN
        box = f'<div class="wrong" role="alert">{sign}<p>{markup.prose(words)}</p>{again}</div>'
        self.wrong.param.update(content=box, visible=True)
        self.adhoc.waiting = NOT_LOADED
        for part in self._whole.main if self._whole is not None else ():
            for board in part.select(Board):  # what waits for an answer does not get one now
                if markup.LOADING in board.content:
                    board.content = board.content.replace(markup.LOADING, NOT_LOADED)
                board.content = board.content.replace(f">{markup.UNKNOWN}</b>", f">{markup.NONE}</b>")

    def later(self, call: Callable[[], Any]) -> None:
        """Change the page as soon as it may be changed; for what runs in a task."""
        change(self.doc, call)

    def _sign(self, version: dict[str, Any]) -> None:
        self._foot.content = foot(str(version.get("version", "")), version.get("started_at")).content
        self.adhoc.param.update(role=str(version.get("role", "")), user=str(version.get("user", "")))

    def _heard(self, event: ServerEvent) -> None:
        """An event of the server, on the reader's thread."""
        self._failures.hear(event)
        if self.shell.feed != self._feed.link:
            self.doc.add_next_tick_callback(lambda: setattr(self.shell, "feed", self._feed.link))
        if not self._has_own_runs and bool(self.shell.running) != self._feed.is_running:
            self.doc.add_next_tick_callback(self._turn)
        everything = event.type in {"hello", "resync"}
        for part in self._parts:
            is_wanted = event.type != "disconnected" and part.wants(event)
            if is_wanted or everything:
                part.poke()

    def _turn(self) -> None:
        """The tab's icon turns while anything runs, or what the page is about."""
        if not self._has_own_runs:
            self.shell.running = int(self._feed.is_running)

    def _hidden(self, event: Any) -> None:
        for part in self._parts:
            if part.renewal is not None:
                part.renewal.set_visible(not event.new)

    def _destroyed(self, context: Any) -> None:
        self._leave()
        for part in self._parts:
            if part.renewal is not None:
                part.renewal.close()
        if self._client is not None:
            self._client.close()
