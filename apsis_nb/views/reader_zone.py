"""The zone whose days a reader means, by its name: what the head of the page says, or the browser's own."""

import threading
from collections.abc import Callable
from typing import ClassVar
from zoneinfo import ZoneInfo

import panel as pn

from .shell import Shell

_PATIENCE_S = 2.0


class ReaderZone:
    """Follows the head of a page and the browser.

    Until the browser has said its zone it is taken for that of the reader before: most are in the same one,
    and what is asked for with it is there when the page is drawn.

    Args:
        shell: the head.
        changed: called when the zone is another one than was told.
    """

    _before: ClassVar[str | None] = None  #: what the last browser said

    def __init__(self, shell: Shell, changed: Callable[[], None]) -> None:
        self._shell = shell
        self._browser = pn.state.browser_info
        self._changed = changed
        self._known = threading.Event()
        self._told: str | None = None
        shell.param.watch(self._chosen, "zone")
        if self._browser is not None:
            self._browser.param.watch(self._said, "timezone")

    @property
    def zone(self) -> ZoneInfo:
        """The zone; UTC while nobody knows it."""
        said = self._shell.zone
        local = getattr(self._browser, "timezone", None) or self._before
        name = {"utc": "UTC", "local": local}.get(said, said)
        try:
            return ZoneInfo(name or "UTC")
        except (KeyError, ValueError):  # a name that only the browser knows
            return ZoneInfo("UTC")

    def wait(self) -> ZoneInfo:
        """The zone, as soon as there is one, or the browser had the time to say it; called by a thread."""
        if self._browser is not None and self._before is None:
            self._known.wait(_PATIENCE_S)
        zone = self.zone
        self._told = zone.key
        return zone

    def _said(self, event: object) -> None:
        type(self)._before = getattr(self._browser, "timezone", None)
        self._known.set()
        if self.zone.key != self._told:
            self._changed()

    def _chosen(self, event: object) -> None:
        self._known.set()
        self._changed()
