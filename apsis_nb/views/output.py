"""The outputs of a run on its page, each in a tab: a log that grows, is searched and coloured, or a preview.

Of a log the end comes first, growing as the program writes, the rest on demand: only pieces of it are ever
read, so one of a gigabyte opens as quickly as a short one. A search reads the whole, piece by piece, and says
how far it is.
"""

import asyncio
import codecs
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import param

from apsis_nb import ansi
from apsis_nb.client import NoSuch, Run
from apsis_nb.core.errors import ApsisError

from . import markup
from .board import PAGE_CSS, Piece
from .line_search import MOST_FOUND, LineSearch
from .previews import kind_of, preview_html

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
OUTPUT_CSS = (_HERE / "output.css").read_text(encoding="utf-8")

FIRST_BYTES = 64 * 1024  #: of a long output: so much of its end
EARLIER_BYTES = 384 * 1024
AROUND_BYTES = 48 * 1024  #: before and after a line that was looked for
MOST_BEHIND_BYTES = 2 * 1024 * 1024  #: what grows faster than it can be shown is shown from its end again
SEARCH_BYTES = 4 * 1024 * 1024  #: of a search, at once
POLL_S = 0.4
TELL_S = 0.3  #: between two words on how far a search is

#: What programs print, by the name of its output.
_PRINTED = {"output": "stdout + stderr", "stdout": "stdout", "stderr": "stderr"}


class OutputPane(Piece):
    """The pane. `follow` gives it a run; it reads the outputs by itself while the run is live."""

    size = param.Integer(default=0, doc="Bytes of the output so far.")
    words = param.String(default="", doc="What stands there while there is nothing.")
    download = param.String(default="", doc="Address of the whole output.")
    names = param.List(default=[], doc="The run's outputs: name, title, kind.")
    name_shown = param.String(default="output", doc="Which of them is shown.")
    preview = param.String(default="", doc="HTML of an output that is no log.")
    found = param.String(default="", doc="What a search has found, in words.")

    _bundle = _HERE / "output.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS, OUTPUT_CSS, ansi.styles()]

    def __init__(self, later: Callable[[Callable[[], Any]], None], **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", **params})
        self._later = later
        self._run: Run | None = None
        self._download = ""
        self._is_ready = False
        self._reading: asyncio.Task[None] | None = None
        self._searching: asyncio.Task[None] | None = None
        self._naming: asyncio.Task[None] | None = None
        self._search: LineSearch | None = None
        self._place = 0  # which of the search's places is shown
        self._outputs: dict[str, Mapping[str, Any]] = {}

    def follow(self, run: Run, download: str = "") -> None:
        """Show the outputs of this run.

        Args:
            run: live or finished.
            download: address of its outputs, up to the name; empty: there is none.
        """
        self._run, self._download = run, download
        self._begin()

    def has_ended(self) -> None:
        """The run has ended: there may be more outputs, whatever is shown now."""
        if self._run is not None and self._is_ready:
            self._naming = self._task(self._tell_names(self._run, self.name_shown))

    def close(self) -> None:
        """Read no more."""
        for task in (self._reading, self._searching, self._naming):
            if task is not None:
                task.cancel()

    def _handle_msg(self, data: Any) -> None:
        value = str(data.get("value", ""))
        match data.get("action"):
            case "ready":
                self._is_ready = True
                self._begin()
            case "name" if value in self._outputs:
                self.name_shown = value
                self._begin_search("", is_error=False)
                self._begin()
            case "end":
                self._begin()
            case "earlier" | "later" as which if value.isdigit():
                pn.state.execute(partial(self._show_more, which, int(value)))
            case "find" | "error" as which:
                self._begin_search(value, is_error=which == "error")
            case "next" | "previous" as which:
                self._step(1 if which == "next" else -1)

    # ---- The end of it, as it grows ----

    def _begin(self) -> None:
        """Show the output anew, from its end; what is read now is left."""
        if self._run is None or not self._is_ready:
            return
        self._leave_end()
        self._reading = self._task(self._read(self._run, self.name_shown))

    def _task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ApsisError as error:
            self._tell({}, words=f"The output cannot be read: {error}", found="")
        except Exception:
            log.exception("an output cannot be shown")
            self._tell({}, words="The output cannot be shown; the log of the dashboards says why.", found="")

    async def _read(self, run: Run, name: str) -> None:
        about = self._outputs.get(name)
        if about is None or kind_of(about["content_type"]) == "log":
            await self._grow(run, name)
            return
        size = int(about["length"])
        url = f"{self._download}{name}" if self._download else ""
        self._tell({}, size=size, download=url, preview=markup.nothing("Loading …"))
        html = await asyncio.to_thread(preview_html, run, name, about["content_type"], size)
        self._tell({}, preview=html)

    async def _grow(self, run: Run, name: str) -> None:
        offset, text = -1, _Growing(0)
        while True:
            is_begun = offset < 0
            try:
                if is_begun:  # with its end, which one question gives
                    asked = partial(run.output_piece, name, -FIRST_BYTES, FIRST_BYTES)
                else:
                    asked = partial(run.output_piece, name, offset)
                piece, size, is_finished = await asyncio.to_thread(asked)
            except NoSuch:  # nothing is there before the program starts, or after it was deleted
                is_finished = await asyncio.to_thread(lambda: run.is_finished)
                dropped = await asyncio.to_thread(lambda: run.outputs_dropped) if is_finished else None
                none = f"The output was dropped: {dropped['reason']}." if dropped else "There is no output."
                self._tell({}, words=none if is_finished else "The program has not started yet.")
                if is_finished:
                    await self._tell_names(run, name)
                    return
                await asyncio.sleep(2 * POLL_S)
                continue
            if is_begun:
                offset = max(0, size - len(piece))
                cut = piece.find(b"\n", 0, FIRST_BYTES // 2) + 1 if offset else 0  # at a line's start
                piece, offset = piece[cut:], offset + cut
                text = _Growing(offset)
                url = f"{self._download}{name}" if self._download else ""
                self._tell({"op": "reset", "begin": offset}, size=size, download=url, preview="")
            elif size - offset > MOST_BEHIND_BYTES:
                offset = -1
                continue
            offset += len(piece)
            at_end = is_finished and (offset >= size or not piece)
            words = "The program printed nothing." if is_finished else "Nothing is printed yet."
            if piece or at_end:
                self._tell({"op": "append", **text.more(piece, at_end)}, size=size, words=words)
            else:
                self._tell({}, size=size, words=words)
            if at_end or is_begun:
                await self._tell_names(run, name)  # some come at the end
            if at_end:
                return
            if offset >= size:
                await asyncio.sleep(POLL_S)

    async def _tell_names(self, run: Run, name: str) -> None:
        """The outputs that there are; of those the one that is shown, by its own name."""
        outputs = await asyncio.to_thread(run.outputs)
        if self._run is not run:
            return
        self._outputs = {o["name"]: o for o in outputs}
        shown = name
        if name == "output" and outputs and name not in self._outputs:
            shown = next((n for n in self._outputs if n in _PRINTED), outputs[0]["name"])
        names = [
            {"name": n, "title": _PRINTED.get(n, n), "kind": kind_of(o["content_type"])}
            for n, o in self._outputs.items()
        ]
        self._tell({}, names=names, name_shown=shown)
        if shown != name and shown not in _PRINTED:
            self._later(lambda: self._show(shown))

    def _show(self, name: str) -> None:
        self.name_shown = name
        self._begin()

    # ---- What lies elsewhere ----

    async def _show_more(self, which: str, at: int) -> None:
        """What lies before or after the part that is shown, which begins or ends at a byte."""
        if self._run is None:
            return
        begin = max(0, at - EARLIER_BYTES) if which == "earlier" else at
        limit = at - begin if which == "earlier" else EARLIER_BYTES
        try:
            piece, size, _ = await asyncio.to_thread(self._run.output_piece, self.name_shown, begin, limit)
        except ApsisError as error:
            self._tell({"op": which, "html": "", "begin": at, "end": at}, words=str(error))
            return
        if which == "earlier" and begin:
            cut = piece.find(b"\n") + 1
            piece, begin = piece[cut:], begin + cut
        elif which == "later" and begin + len(piece) < size:
            piece = piece[: piece.rfind(b"\n") + 1] or piece
        html = ansi.AnsiText().convert(piece.decode(errors="replace"))
        end = begin + len(piece)
        self._tell({"op": which, "html": html, "begin": begin, "end": end, "is_end": end >= size})

    async def _show_place(self, run: Run, name: str, place: int) -> None:
        """The part of the output around a line, which is marked."""
        begin = max(0, place - AROUND_BYTES)
        piece, size, _ = await asyncio.to_thread(run.output_piece, name, begin, 2 * AROUND_BYTES)
        if begin:
            cut = piece.find(b"\n", 0, place - begin) + 1
            piece, begin = piece[cut:], begin + cut
        last = piece.rfind(b"\n")
        if begin + len(piece) < size and last >= place - begin:  # the line itself may be the longest of all
            piece = piece[: last + 1]
        before, rest = piece[: place - begin], piece[place - begin :]
        line, newline, after = rest.partition(b"\n")
        colours = ansi.AnsiText()
        parts = [colours.convert(part.decode(errors="replace")) for part in (before, line, newline + after)]
        end = begin + len(piece)
        html = f'{parts[0]}<mark class="hit">{parts[1]}</mark>{parts[2]}'
        self._tell(
            {"op": "place", "html": html, "begin": begin, "end": end, "is_end": end >= size}, size=size
        )

    def _leave_end(self) -> None:
        """Follow the end of the output no more: another part of it is shown."""
        if self._reading is not None:
            self._reading.cancel()

    # ---- The search ----

    def _begin_search(self, words: str, *, is_error: bool) -> None:
        """Look for words in the whole output, or for the first line that looks like an error."""
        if self._searching is not None:
            self._searching.cancel()
        self._search, self._place = None, 0
        if self._run is None or not (words or is_error):
            self._tell({}, found="")
            return
        search = self._search = LineSearch(None if is_error else words)
        self._searching = self._task(self._look_through(self._run, self.name_shown, search))

    async def _look_through(self, run: Run, name: str, search: LineSearch) -> None:
        is_error, loop = search.is_error, asyncio.get_running_loop()
        told_at, offset = loop.time(), 0

        def read() -> "asyncio.Task[tuple[bytes, int, bool]]":
            return loop.create_task(asyncio.to_thread(run.output_piece, name, offset, SEARCH_BYTES))

        reading = read()
        try:
            while True:
                piece, size, is_finished = await reading
                offset += len(piece)
                at_end = offset >= size or not piece
                had_found = search.count > 0
                if not at_end:
                    reading = read()  # while this piece is looked through
                await asyncio.to_thread(search.feed, piece, at_end=at_end)
                if search.count and not had_found:
                    self._leave_end()
                    await self._show_place(run, name, search.places[0])
                    if is_error:
                        self._tell({}, found="the first line that looks like an error")
                        return
                if at_end:
                    break
                if loop.time() - told_at > TELL_S:
                    told_at = loop.time()
                    share = f"searched {markup.size(offset)} of {markup.size(size)}"
                    self._tell({}, found=f"{self._in_words(search)}; {share}")
        finally:
            reading.cancel()
        if is_error:
            self._tell({}, found="no line looks like an error")
        else:
            self._tell({}, found=self._in_words(search) + ("" if is_finished else " so far"))

    def _step(self, by: int) -> None:
        """The next line that was found, or the previous; after the last comes the first."""
        search, run = self._search, self._run
        if search is None or run is None or not search.places:
            return
        self._place = (self._place + by) % len(search.places)
        self._tell({}, found=self._in_words(search))
        self._leave_end()
        self._reading = self._task(self._show_place(run, self.name_shown, search.places[self._place]))

    def _in_words(self, search: LineSearch) -> str:
        if not search.count:
            return "no line has it"
        lines = "1 line" if search.count == 1 else f"{self._place + 1:,} of {search.count:,} lines"
        more = f" (the first {MOST_FOUND:,} can be gone to)" if search.count > MOST_FOUND else ""
        return lines + more

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
