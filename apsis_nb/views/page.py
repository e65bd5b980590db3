"""One open page of one reader: its client, its frame, and what keeps it up to date."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import panel as pn
from panel_material_ui.template.base import Page as MaterialPage

from apsis_nb.client import Client, NotAuthorized, ServerEvent
from apsis_nb.core.errors import ApsisError

from . import connection, markup, palette
from .board import Board
from .live import Renewal
from .shell import Shell, foot, frame

T = TypeVar("T")

Wants = Callable[[ServerEvent], bool]


def anything(event: ServerEvent) -> bool:
    """Every event matters."""
    return True


class Page:
    """A page that is being shown.

    Args:
        name: as in `process.PAGES`.
        title: of the browser's tab.
        now: the clock; aware.
    """

    def __init__(self, name: str, title: str, now: Callable[[], datetime]) -> None:
        doc = pn.state.curdoc
        if doc is None:
            raise RuntimeError("a page is made while a document is: by `panel serve`, or in a notebook cell")
        self.doc = doc
        self.now = now
        self.title = title
        self.has_api = connection.is_behind_server()  #: whether the server's API has the page's own address
        self.shell = Shell(page=name, alive="../api/v1/alive" if self.has_api else "")
        self.wrong = Board(visible=False)
        self._foot = Board()
        self._renewals: list[tuple[Renewal[Any], Wants]] = []
        self._client: Client | None = None
        self._leave: Callable[[], None] = lambda: None
        try:
            self._client = connection.page_client()
            self._feed = connection.feed()
        except ApsisError as error:
            self.fail(error)
        self.shell.param.watch(self._hidden, "hidden")
        pn.state.onload(self._loaded)
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

    def show(self, *parts: Any) -> MaterialPage:
        """The whole page."""
        return frame(f"{self.title} · apsis_nb", self.shell, self.wrong, *parts, self._foot)

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
        made: list[Renewal[T]] = []

        async def begin() -> None:
            made.append(Renewal(self.doc, load, show, self.fail, every_s=every_s))
            self._renewals.append((made[0], wants))

        pn.state.onload(begin)

        def again() -> None:
            for renewal in made:
                renewal.poke_here()

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
        if isinstance(error, NotAuthorized) and self.has_api:
            words, again = (
                "Your session has ended, or it may not do this.",
                '<a href="../login">Log in again</a>',
            )
        elif not isinstance(error, ApsisError):
            words = "A part of this page cannot be shown; the log of the dashboards says why."
        sign = palette.WARNING_SIGN
        box = f'<div class="wrong" role="alert">{sign}<p>{markup.text(words)}</p>{again}</div>'
        self.wrong.param.update(content=box, visible=True)

    def later(self, call: Callable[[], Any]) -> None:
        """Change the page as soon as it may be changed; for what runs in a task."""
        self.doc.add_next_tick_callback(call)

    async def _loaded(self) -> None:
        if self._client is None:
            return
        self._leave = self._feed.listen(self._heard)
        self.shell.feed = self._feed.link
        version = await self.act(self._client.version)
        if version is not None:
            self.later(lambda: self._sign(version))

    def _sign(self, version: dict[str, Any]) -> None:
        self._foot.content = foot(str(version.get("version", "")), version.get("started_at")).content

    def _heard(self, event: ServerEvent) -> None:
        """An event of the server, on the reader's thread."""
        if self.shell.feed != self._feed.link:
            self.doc.add_next_tick_callback(lambda: setattr(self.shell, "feed", self._feed.link))
        everything = event.type in {"hello", "resync"}
        for renewal, wants in list(self._renewals):
            if everything or (event.type != "disconnected" and wants(event)):
                renewal.poke()

    def _hidden(self, event: Any) -> None:
        for renewal, _ in self._renewals:
            renewal.set_visible(not event.new)

    def _destroyed(self, context: Any) -> None:
        self._leave()
        for renewal, _ in self._renewals:
            renewal.close()
        if self._client is not None:
            self._client.close()
