"""The command `watch`: what the server does, or one run, as it happens."""

import os
import queue
import select
import signal
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsis_nb.cli.completion import run_ids
from apsis_nb.cli.options import UrlOption, UtcOption, client_of
from apsis_nb.core.states import ACTIVE, FINISHED
from apsis_nb.core.times import format_utc

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from apsis_nb.client import Client, Run, ServerEvent

_ACTIVE, _FINISHED = ({state.value for state in states} for states in (ACTIVE, FINISHED))
_LEAVE = {b"q", b"Q", b"\x1b", b"\x04", b""}  # also Escape and Ctrl-D; nothing: the terminal is gone
_TICK_S = 1.0  # how often what counts up is shown anew
_MOST_ENDED = 200  # runs that have ended, and are kept for the screen
_LATE_WITHIN = timedelta(days=1)


def watch(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Of one run: r123. It is watched until it has ended.",
            autocompletion=run_ids,
        ),
    ] = None,
    url: UrlOption = None,
    utc: UtcOption = False,
) -> None:
    """Look on: what runs, waits and why, is late, and has ended.

    On a terminal it is a screen that follows the server; q, Escape or Ctrl-C leave it. Elsewhere a line comes
    for each change. If the connection breaks, it says so, and goes on when the server is there again. Of one
    run it shows the end of its output, and ends with the run: exit status 1 if that did not succeed.

    \b
    Examples:
      apsis-nb watch
      apsis-nb watch r123
      apsis-nb watch | grep failure
    """
    client = client_of(url)
    run = None if run_id is None else client.run(run_id)
    board = Board(client, run)
    with suppress(KeyboardInterrupt):
        if sys.stdin.isatty() and sys.stdout.isatty():
            _on_a_screen(board)
        else:
            _in_lines(board)
    if run is not None and run.seen["state"] in _FINISHED:
        if sys.stdout.isatty():
            _tell_end(run)
        if run.seen["state"] != "success":
            raise typer.Exit(1)


@dataclass
class Board:
    """What is known of the runs that are looked at; the events of the server keep it up to date."""

    client: "Client"
    run: "Run | None"  #: the one that is watched; None: all
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)  #: facts by id
    seen_at: dict[str, float] = field(default_factory=dict)  #: when those came, on the monotonic clock
    reasons: dict[str, str] = field(default_factory=dict)  #: why runs wait
    trouble: str = ""  #: why there is no connection; empty: there is one
    is_stale: bool = False  #: something was missed, that no event will tell
    output: str = ""  #: the end of what the one run has written

    def take(self, event: "ServerEvent") -> None:
        """Follow an event."""
        facts = dict(event.facts)
        match event.type:
            case "hello" | "resync":
                self.trouble, self.is_stale = "", True
            case "disconnected":
                self.trouble = f"{facts['error']}; trying again every few seconds"
            case "run" if self._is_wanted(facts["run_id"]):
                self._put(facts)
            case "log" if facts["state"] == "waiting" and facts["message"]:
                self.reasons[facts["run_id"]] = facts["message"]
            case "late" if facts["run_id"] in self.runs:
                self.runs[facts["run_id"]]["late"] = True

    def refresh(self) -> None:
        """Read all anew, if something was missed; if the server is away again, that is for the next time."""
        from apsis_nb.client import ServerDown

        if not self.is_stale:
            return
        try:
            self._read()
        except ServerDown as error:
            self.trouble = str(error)
        else:
            self.trouble, self.is_stale = "", False

    def has_ended(self) -> bool:
        """Whether the one run that is watched has."""
        return self.run is not None and self.run.seen["state"] in _FINISHED

    def look(self, lines: int) -> None:
        """Read the end of the output of the one run."""
        if self.run is not None and not self.trouble:
            self.output = self.run.last_lines(lines) or self.output

    def rows(self, *states: str) -> list[dict[str, Any]]:
        """Runs in some states, as they are now: the longest there first, ended ones last first."""
        now = time.monotonic()
        found = []
        for run_id, facts in self.runs.items():
            if facts["state"] not in states:
                continue
            more_s = 0.0 if facts["state"] in _FINISHED else now - self.seen_at[run_id]
            counted = {n: facts[n] + more_s for n in ("elapsed_s", "late_s") if facts[n] is not None}
            if facts["state"] == "waiting":
                counted["message"] = self.reasons.get(run_id) or facts["message"]
            found.append({**facts, **counted})
        is_ended = set(states) <= _FINISHED
        found.sort(key=lambda r: r["finished_at"] or r["scheduled_at"], reverse=is_ended)
        return found

    def late(self) -> list[dict[str, Any]]:
        """Runs that are late or were so in the last day, newest first."""
        since = datetime.now(UTC) - _LATE_WITHIN
        rows = [row for row in self.rows(*_ACTIVE, *_FINISHED) if row["late"]]
        rows = [row for row in rows if datetime.fromisoformat(row["scheduled_at"]) >= since]
        return sorted(rows, key=lambda r: r["scheduled_at"], reverse=True)

    def _read(self) -> None:
        if self.run is not None:
            self._put(self.run.facts)
            return
        self.runs.clear()
        now = self.client.list_runs(state=sorted(_ACTIVE), limit=1000)
        ended = self.client.list_runs(state=sorted(_FINISHED), until="now", limit=50)
        late = self.client.list_runs(late=True, since=_LATE_WITHIN, limit=50)
        for facts in [*late, *ended, *now]:
            self._put(facts)
        for facts in [facts for facts in now if facts["state"] == "waiting"][:20]:
            told = [row["message"] for row in self.client.run(facts["run_id"]).list_log() if row["message"]]
            if told:
                self.reasons[facts["run_id"]] = told[-1]

    def _put(self, facts: dict[str, Any]) -> None:
        run_id = facts["run_id"]
        if run_id in self.runs and self.runs[run_id]["late"]:
            facts["late"] = True
        self.runs[run_id], self.seen_at[run_id] = facts, time.monotonic()
        if facts["state"] in _FINISHED:
            self.reasons.pop(run_id, None)
            if self.run is not None:
                _ = self.run.facts  # the object itself learns how it has ended
        ended = self.rows(*_FINISHED) if len(self.runs) > 2 * _MOST_ENDED else []
        for row in ended[_MOST_ENDED:]:
            del self.runs[row["run_id"]], self.seen_at[row["run_id"]]

    def _is_wanted(self, run_id: str) -> bool:
        return self.run is None or self.run.run_id == run_id


class News:
    """The events of the server, read by a thread; whoever waits for them is woken through a socket."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._came: queue.SimpleQueue[ServerEvent | Exception] = queue.SimpleQueue()
        self.woken, self._wake = socket.socketpair()
        for end in (self.woken, self._wake):
            end.setblocking(False)
        threading.Thread(target=self._listen, daemon=True).start()

    def taken(self) -> Iterator["ServerEvent"]:
        """What has come since the last time.

        Raises:
            ClientError: nothing more will come.
        """
        with suppress(BlockingIOError):
            while self.woken.recv(4096):
                pass
        while not self._came.empty():
            match self._came.get():
                case Exception() as error:
                    raise error
                case event:
                    yield event

    def wake(self) -> None:
        """Let whoever waits look again."""
        with suppress(BlockingIOError):  # full: it will look anyway
            self._wake.send(b"x")

    def _listen(self) -> None:
        try:
            for event in self._client.events(("run", "log", "late")):
                self._came.put(event)
                self.wake()
        except Exception as error:  # for whoever waits
            self._came.put(error)
            self.wake()


def _in_lines(board: Board) -> None:
    """A line for each change, for programs and files; first what there is."""
    if board.run is not None and board.has_ended():
        _tell(board.run.seen)
        return
    news, is_first, was_broken = News(board.client), True, False
    while not board.has_ended():
        select.select([news.woken], [], [], _TICK_S)
        for event in news.taken():
            board.take(event)
            if event.type == "run" and event.facts["run_id"] in board.runs and not is_first:
                _tell(event.facts)
        if bool(board.trouble) is not was_broken:
            was_broken = not was_broken
            sys.stderr.write(f"no connection: {board.trouble}\n" if was_broken else "connected again\n")
        if board.is_stale:
            known = dict(board.runs)
            board.refresh()
            for facts in board.rows(*_ACTIVE, *(_FINISHED if board.run is not None or known else ())):
                if facts["state"] != known.get(facts["run_id"], {}).get("state"):
                    _tell(facts)
            is_first = board.is_stale


def _tell(facts: Any) -> None:
    from apsis_nb.cli.listing import args_text, clean, duration, local_with_zone

    words = [
        local_with_zone(facts["finished_at"] or facts["started_at"] or facts["scheduled_at"]),
        facts["run_id"],
        facts["job_id"],
        facts["state"],
        duration(facts["elapsed_s"]) if facts["state"] in _FINISHED else "",
        f"late by {duration(facts['late_s'])}" if facts["late"] and facts["late_s"] else "",
        args_text(facts["args"]),
        facts["message"] or facts["skip_reason"] or "",
    ]
    sys.stdout.write(clean("  ".join(word for word in words if word)) + "\n")
    sys.stdout.flush()


def _on_a_screen(board: Board) -> None:
    from rich.console import Group
    from rich.live import Live

    from apsis_nb.cli.listing import console_of

    console, news = console_of(), News(board.client)
    with (
        _keys() as keys,
        _woken_by_resize(news),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not board.has_ended():
            board.look(console.height)
            live.update(Group(*_page(board, console)), refresh=True)
            ready, _, _ = select.select([keys, news.woken.fileno()], [], [], _TICK_S)
            if keys in ready and _LEAVE & {os.read(keys, 64)}:
                return
            for event in news.taken():
                board.take(event)
            board.refresh()


@contextmanager
def _keys() -> Iterator[int]:
    """Standard input key by key, unseen; it is as before at the end, however that comes."""
    keys = sys.stdin.fileno()
    before, ended = termios.tcgetattr(keys), signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tty.setcbreak(keys, termios.TCSANOW)
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSANOW, before)
        signal.signal(signal.SIGTERM, ended)


@contextmanager
def _woken_by_resize(news: News) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda *_: news.wake())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _page(board: Board, console: "Console") -> list["Text"]:
    """The screen, no longer than it is high."""
    from rich.text import Text

    from apsis_nb.cli.listing import local_with_zone

    now = local_with_zone(format_utc(datetime.now(UTC)))
    state = f"no connection: {board.trouble}" if board.trouble else f"live  {now}  {board.client.url}"
    head = Text(state, style="bold red" if board.trouble else "green")
    body = _all_runs(board, console) if board.run is None else _one_run(board, console)
    lines = [head, Text(), *body][: console.height - 1]
    lines += [Text()] * (console.height - 1 - len(lines))
    foot = Text("q leaves", style="dim")
    for line in [*lines, foot]:
        line.no_wrap, line.overflow = True, "ellipsis"
    return [*lines, foot]


def _all_runs(board: Board, console: "Console") -> list["Text"]:
    """Sections: running, waiting, late, ended. The last has the room that the others leave."""
    from rich.text import Text

    from apsis_nb.cli.listing import run_columns, table_lines

    room = console.height - 3
    sections = [
        ("running", board.rows("starting", "running", "stopping"), 0.35),
        ("waiting", board.rows("waiting"), 0.25),
        ("late in the last day", board.late(), 0.2),
        ("ended", board.rows(*_FINISHED), 1.0),
    ]
    lines: list[Text] = []
    for title, rows, share in sections:
        most = max(3, int(room * share)) if share < 1 else max(3, room - len(lines))
        told = (
            table_lines(console, rows[:most], run_columns(short=True))
            if rows
            else [Text("none", style="dim")]
        )
        more = f" ({len(rows)})" if share < 1 and rows else ""
        lines += [Text(f"{title}{more}", style="bold"), *told[: most - 1], Text()]
    return lines


def _one_run(board: Board, console: "Console") -> list["Text"]:
    from rich.text import Text

    from apsis_nb.cli.listing import clean, run_columns, table_lines

    rows: Sequence[dict[str, Any]] = board.rows(*_ACTIVE, *_FINISHED, "scheduled")
    lines = [*table_lines(console, rows, run_columns(short=True)), Text()] if rows else []
    room = max(1, console.height - 3 - len(lines))
    return [*lines, *(Text(clean(line)) for line in board.output.splitlines()[-room:])]


def _tell_end(run: "Run") -> None:
    """Leave on the terminal how the run has ended: the screen is gone then."""
    from apsis_nb.cli.listing import run_columns, show, show_lines
    from apsis_nb.cli.options import Format

    show([run.seen], run_columns(), Format.table, empty="")
    show_lines(run.last_lines(20).splitlines())
