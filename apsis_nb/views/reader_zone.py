"""The zone whose days a reader means, by its name: what the head of the page says, or the browser's own."""

import threading
from collections.abc import Callable
from zoneinfo import ZoneInfo

import panel as pn

from .shell import Shell

_PATIENCE_S = 2.0


class ReaderZone:
    """Follows the head of a page and the browser.

    Args:
        shell: the head.
        changed: called when the zone is another one.
    """

    def __init__(self, shell: Shell, changed: Callable[[], None]) -> None:
        self._shell = shell
        self._browser = pn.state.browser_info
        self._changed = changed
        self._known = threading.Event()
        shell.param.watch(self._look, "zone")
        if self._browser is not None:
            self._browser.param.watch(self._look, "timezone")

    @property
    def zone(self) -> ZoneInfo:
        """The zone; UTC while the browser has not said its own."""
        said = self._shell.zone
        name = {"utc": "UTC", "local": getattr(self._browser, "timezone", None)}.get(said, said)
        try:
            return ZoneInfo(name or "UTC")
        except (KeyError, ValueError):  # a name that only the browser knows
            return ZoneInfo("UTC")

    def wait(self) -> ZoneInfo:
        """The zone, when the browser has said it, or has had the time to; called by a thread that loads."""
        if self._browser is not None:
            self._known.wait(_PATIENCE_S)
        return self.zone

    def _look(self, event: object) -> None:
        self._known.set()
        self._changed()
