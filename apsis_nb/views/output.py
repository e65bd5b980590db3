"""The output of a run on its page: the end of it first, growing as the program writes, the rest on demand."""

import asyncio
import codecs
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import panel as pn
import param

from apsis_nb.client import NoSuch, Run
from apsis_nb.core.errors import ApsisError

from . import ansi
from .board import _HERE, PAGE_CSS

log = logging.getLogger(__name__)

FIRST_BYTES = 128 * 1024  #: of a long output: so much of its end
EARLIER_BYTES = 256 * 1024
MOST_BEHIND_BYTES = 2 * 1024 * 1024  #: what grows faster than it can be shown is shown from its end again
POLL_S = 0.4

#: What can be read as it is.
_TEXTS = frozenset({"text/plain", "text/csv", "text/markdown", "application/json"})

_ABSENT = {False: "The program has not started yet.", True: "There is no output."}


class OutputPane(pn.custom.JSComponent):
    """The pane. `follow` gives it a run; it reads the output by itself while the run is live."""

    size = param.Integer(default=0, doc="Bytes of the output so far.")
    words = param.String(default="", doc="What stands there while there is nothing.")
    download = param.String(default="", doc="Address of the whole output.")
    names = param.List(default=[], doc="The run's outputs.")
    name_shown = param.String(default="output", doc="Which of them is shown.")

    _bundle = _HERE / "output.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS, ansi.styles()]

    def __init__(self, later: Callable[[Callable[[], Any]], None], **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", **params})
        self._later = later
        self._run: Run | None = None
        self._download = ""
        self._is_ready = False
        self._task: asyncio.Task[None] | None = None

    def follow(self, run: Run, download: str = "") -> None:
        """Show the output of this run.

        Args:
            run: live or finished.
            download: address of its outputs, up to the name.
        """
        self._run, self._download = run, download
        self._begin()

    def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()

    def _handle_msg(self, data: Any) -> None:
        value = str(data.get("value", ""))
        match data.get("action"):
            case "ready":
                self._is_ready = True
                self._begin()
            case "name" if value in self.names:
                self.name_shown = value
                self._begin()
            case "earlier" if value.isdigit():
                pn.state.execute(partial(self._show_earlier, int(value)))

    def _begin(self) -> None:
        """Read from the end of the output on; what is read now is left."""
        if self._run is None or not self._is_ready:
            return
        self.close()
        self._task = asyncio.get_running_loop().create_task(self._read(self._run, self.name_shown))

    async def _read(self, run: Run, name: str) -> None:
        try:
            await self._grow(run, name)
        except asyncio.CancelledError:
            raise
        except ApsisError as error:
            self._tell({}, words=f"The output cannot be read: {error}")
        except Exception:
            log.exception("the output of %s cannot be shown", run.run_id)
            self._tell({}, words="The output cannot be shown; the log of the dashboards says why.")

    async def _grow(self, run: Run, name: str) -> None:
        offset, text = -1, _Growing(0)
        while True:
            try:
                if offset < 0:
                    _, size, _ = await asyncio.to_thread(run._output_piece, name, 1 << 62)
                    offset, text = await self._end_of(run, name, size)
                piece, size, is_finished = await asyncio.to_thread(run._output_piece, name, offset)
            except NoSuch:  # nothing is there before the program starts, or after it was deleted
                is_finished = await asyncio.to_thread(lambda: run.is_finished)
                dropped = await asyncio.to_thread(lambda: run.outputs_dropped) if is_finished else None
                none = f"The output was dropped: {dropped['reason']}." if dropped else "There is no output."
                self._tell({}, words=none if is_finished else "The program has not started yet.")
                if is_finished:
                    return
                await asyncio.sleep(2 * POLL_S)
                continue
            if size - offset > MOST_BEHIND_BYTES:
                offset = -1
                continue
            offset += len(piece)
            at_end = is_finished and (offset >= size or not piece)
            words = "The program printed nothing." if is_finished else "Nothing is printed yet."
            if piece or at_end:
                self._tell({"op": "append", **text.more(piece, at_end)}, size=size, words=words)
            else:
                self._tell({}, size=size, words=words)
            if at_end:
                await self._tell_names(run, name)  # some come at the end
                return
            if offset >= size:
                await asyncio.sleep(POLL_S)

    async def _end_of(self, run: Run, name: str, size: int) -> "tuple[int, _Growing]":
        """Where to begin: at a line's start near the end."""
        begin = max(0, size - FIRST_BYTES)
        if begin:
            piece, _, _ = await asyncio.to_thread(run._output_piece, name, begin)
            begin += piece.find(b"\n", 0, FIRST_BYTES // 2) + 1
        url = f"{self._download}{name}" if self._download else ""
        self._tell({"op": "reset", "begin": begin}, size=size, download=url)
        await self._tell_names(run, name)
        return begin, _Growing(begin)

    async def _tell_names(self, run: Run, name: str) -> None:
        """The outputs that can be read; of those the one that is shown, by its own name."""
        outputs = await asyncio.to_thread(run.outputs)
        names = [o["name"] for o in outputs if o["content_type"] in _TEXTS]
        if name == "output" and names and name not in names:
            name = names[0]
        if self._run is run and names != self.names:
            self._tell({}, names=names, name_shown=name)

    async def _show_earlier(self, end: int) -> None:
        if self._run is None:
            return
        begin = max(0, end - EARLIER_BYTES)
        try:
            piece, _, _ = await asyncio.to_thread(self._run._output_piece, self.name_shown, begin)
        except ApsisError as error:
            self._tell({"op": "prepend", "html": "", "begin": end}, words=str(error))
            return
        piece = piece[: end - begin]
        if begin:
            cut = piece.find(b"\n") + 1
            piece, begin = piece[cut:], begin + cut
        html = ansi.AnsiText().convert(piece.decode(errors="replace"))
        self._tell({"op": "prepend", "html": html, "begin": begin})

    def _tell(self, message: dict[str, Any], **params: Any) -> None:
        def act() -> None:
            self.param.update(**{k: v for k, v in params.items() if getattr(self, k) != v})
            if message:
                self._send_msg(message)

        self._later(act)


class _Growing:
    """Bytes of an output made into HTML as they come: whole lines once, the unfinished one each time."""

    def __init__(self, begin: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._lines = ansi.AnsiText()
        self._rest = ""
        self._begin = begin

    def more(self, piece: bytes, at_end: bool) -> dict[str, Any]:
        text = self._rest + self._decoder.decode(piece, final=at_end)
        whole, newline, self._rest = text.rpartition("\n")
        begin = self._begin
        self._begin += len((whole + newline).encode())
        html = self._lines.convert(whole + newline) if newline else ""
        return {
            "html": html,
            "begin": begin,
            "tail": ansi.AnsiText().convert(self._rest) if self._rest else "",
        }
