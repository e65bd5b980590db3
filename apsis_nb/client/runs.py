"""A run, as a live object: it can be waited for, read, stopped, and shown in a cell."""

import asyncio
import codecs
import html
import re
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from datetime import date, datetime
from signal import Signals
from typing import TYPE_CHECKING, Any

from apsis_nb import frames
from apsis_nb.client.cells import in_kernel, show_live
from apsis_nb.client.connection import Connection, quoted
from apsis_nb.client.errors import BadRequest, ClientError, NoSuch, RunFailed, WaitTimeout
from apsis_nb.client.notices import ask_leave, tell_end
from apsis_nb.client.why import Why
from apsis_nb.config import system_zone
from apsis_nb.core.states import FINISHED
from apsis_nb.core.times import format_duration, format_iso, format_local, format_time, zone

if TYPE_CHECKING:
    import pandas as pd

_FINISHED = {state.value for state in FINISHED}
#: Seconds between two looks at a run that somebody waits for: quick at first, then at ease.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 0.5
_START_S = 10.0  # that a program may take to be there
_OUTPUT_PIECE = 1 << 20  # bytes of output asked for at once
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_MOST_WORDS = 1000  # of args, labels or a message on a card
#: Of the card's edge; the state itself stands there in words.
_OUTCOME_COLOURS = {"success": "#2e8b57", "failure": "#c0392b", "error": "#c0392b", "skipped": "#888888"}


class Run:
    """A run: asks the server for news of it until it has finished.

    Two are equal if they are the same run of the same server. `await run` waits for it and gives it.
    """

    def __init__(self, connection: Connection, facts: dict[str, Any]) -> None:
        self._connection = connection
        self._facts = facts
        self.run_id: str = facts["run_id"]
        self.job_id: str = facts["job_id"]
        self.args: dict[str, str] = facts["args"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self._connection.url, self.run_id

    @property
    def facts(self) -> dict[str, Any]:
        """All that is known of it now, as plain values: as `frames.RUNS`, with `program`, `meta`, and
        `imported_from`: the `source`, `run_id` and `at` of each place where it was before."""
        if self._facts["state"] not in _FINISHED:
            self._facts = self._connection.json("GET", f"/runs/{self.run_id}")
        return self._facts

    @property
    def seen(self) -> dict[str, Any]:
        """As `facts`, as they were when the server was last asked."""
        return self._facts

    @property
    def state(self) -> str:
        """Its state now."""
        state: str = self.facts["state"]
        return state

    @property
    def meta(self) -> dict[str, Any] | None:
        """What its program used and said of itself; None if nothing is known yet, or there was no program.

        `cpu_s` (seconds), `max_rss_b`, `read_b`, `write_b` (bytes) and `detail` (how it ended: signals, why)
        once it has finished; and `meta`: the JSON that the program wrote to `$APSIS_META_FILE`, also while it
        runs.
        """
        if self.is_finished and self._facts.get("meta") is None:  # lists do not tell it
            self._facts = self._connection.json("GET", f"/runs/{self.run_id}")
        meta: dict[str, Any] | None = self._facts.get("meta")
        return meta

    @property
    def progress(self) -> dict[str, Any] | None:
        """How far its program says that it is: `done` of `total`, and a `message`; None: it does not.

        A notebook tells it after each cell; any program may, as `progress` in what it writes to
        `$APSIS_META_FILE`.
        """
        said = (self.meta or {}).get("meta")
        return progress_of(said)

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.state in _FINISHED

    def wait(self, timeout: float | None = None, *, notify: bool = False) -> "Run":
        """Wait until it has ended, well or badly.

        Args:
            timeout: seconds; None: as long as it takes.
            notify: then tell it, by the browser that shows the notebook, if its reader allows that; by the
                terminal where there is none.

        Raises:
            WaitTimeout: it has not ended in that time.
        """
        if notify:
            ask_leave()
        for pause_s in self._looks(timeout):
            time.sleep(pause_s)
        if notify:
            tell_end(self._facts)
        return self

    def __await__(self) -> Generator[Any, None, "Run"]:
        return self._ended().__await__()

    async def _ended(self) -> "Run":
        # The looks are HTTP requests, so they are made in a thread; the notebook's own loop stays free.
        looks = self._looks(None)
        while True:
            pause_s = await asyncio.to_thread(next, looks, None)
            if pause_s is None:
                return self
            await asyncio.sleep(pause_s)

    def _looks(self, timeout: float | None) -> Iterator[float]:
        """Look at it again and again until it has finished; gives the seconds to pause between looks."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause_s = _FIRST_LOOK_S
        while not self.is_finished:
            left_s = pause_s if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                raise WaitTimeout(f"run {self.run_id} is {self._facts['state']} after {timeout:g} s")
            yield min(pause_s, left_s)
            pause_s = min(pause_s * 1.5, _LAST_LOOK_S)

    def result(self, timeout: float | None = None) -> "Run":
        """Wait for it, and see that it succeeded.

        Raises:
            RunFailed: it did not; with the last lines of its output.
            WaitTimeout: as `wait`.
        """
        self.wait(timeout)
        if self._facts["state"] != "success":
            raise RunFailed(self._facts, self.last_lines(20))
        return self

    def output(self, name: str = "output", *, tail: int | None = None) -> str:
        """What it has written, up to now.

        Args:
            name: of the output; what a program prints is `output`, or `stdout` and `stderr` if it has them
                apart: then `output` is `stdout`.
            tail: only so many lines from the end.
        """
        text = self.output_bytes(name).decode(errors="replace")
        return text if tail is None else _last_lines(text, tail)

    def output_bytes(self, name: str = "output") -> bytes:
        """As `output`, every byte as the program wrote it."""
        pieces, offset, size = [], 0, 1
        while offset < size:
            piece, size, _ = self.output_piece(name, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def outputs(self) -> list[dict[str, Any]]:
        """Its outputs: name, length in bytes, content_type."""
        outputs: list[dict[str, Any]] = self._connection.json("GET", f"/runs/{self.run_id}/outputs")[
            "outputs"
        ]
        return outputs

    @property
    def outputs_dropped(self) -> dict[str, str] | None:
        """When its outputs were given up (`at`, ISO 8601, UTC), and the `reason`; None: they were not."""
        dropped: dict[str, str] | None = self._connection.json("GET", f"/runs/{self.run_id}/outputs")[
            "dropped"
        ]
        return dropped

    def pieces(self, name: str = "output") -> Iterator[bytes]:
        """What it writes, from the start, as it grows; ends when the run has."""
        offset, pause_s, had_finished = 0, _FIRST_LOOK_S, False
        while True:
            try:
                piece, size, is_finished = self.output_piece(name, offset)
            except NoSuch:  # nothing is there before its program starts
                if had_finished:
                    return
                had_finished = self.is_finished  # it may have come since, so it is looked for once more
                piece, size, is_finished = b"", 0, False
            if piece:
                yield piece
                offset, pause_s = offset + len(piece), _FIRST_LOOK_S
            elif is_finished and offset >= size:
                return
            else:
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _LAST_LOOK_S)

    def follow(self, name: str = "output") -> "Run":
        """Print what it writes as it grows, until it ends."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for piece in self.pieces(name):
            sys.stdout.write(decoder.decode(piece))
            sys.stdout.flush()
        sys.stdout.write(decoder.decode(b"", final=True))
        return self.wait()

    @property
    def log(self) -> "pd.DataFrame":
        """What happened to it, oldest first: the columns of `frames.LOG`."""
        import pyarrow as pa

        names = [c.name for c in frames.LOG]
        rows = [{**row, "ts": datetime.fromisoformat(row["ts"])} for row in self.list_log()]
        types = [pa.string(), pa.timestamp("us", tz="UTC"), pa.string(), pa.string()]
        table = pa.Table.from_pylist(rows, schema=pa.schema(list(zip(names, types, strict=True))))
        return frames.to_frame(table, frames.LOG)

    def list_log(self) -> list[dict[str, Any]]:
        """As `log`, as plain values: ts (ISO 8601, UTC), state, message."""
        rows = self._connection.json("GET", f"/runs/{self.run_id}/log")["log"]
        return [{"run_id": self.run_id, **{n: row[n] for n in ("ts", "state", "message")}} for row in rows]

    def why(self) -> Why:
        """Why it has not run, or not well: causes in words, through what it waits for down to the root."""
        return Why(self._connection.json("GET", f"/runs/{self.run_id}/why")["causes"])

    def start(self) -> "Run":
        """Start it now, though it is not yet due, or a condition holds it."""
        return self._ask("start")

    def skip(self, reason: str | None = None) -> "Run":
        """Do not run it.

        Args:
            reason: why not, for others.
        """
        return self._ask("skip", {"reason": reason} if reason else None)

    def stop(self) -> "Run":
        """Ask its program to end; after the job's grace period it is killed."""
        return self._ask("stop")

    def signal(self, signal: str | int) -> "Run":
        """Send its program a signal: `USR1`, `SIGUSR1`, 10.

        Raises:
            BadRequest: there is no such signal.
        """
        name = _signal_name(signal)
        self._wait_while_starting()
        return self._ask(f"signal/{name}")

    def mark(self, state: str, *, actions: bool = False) -> "Run":
        """Say that it ended otherwise: what waits for it hears of it.

        Args:
            state: success, failure, error or skipped.
            actions: whether the job's actions of that state fire.
        """
        answer = self._connection.json("POST", f"/runs/{self.run_id}/mark/{state}", body={"actions": actions})
        self._facts = answer["runs"][0]
        return self

    def rerun(self, args: Mapping[str, Any] | None = None, *, test: bool = False, **more_args: Any) -> "Run":
        """Run it again now, as its job is today.

        Args:
            args: those that change; also as keywords, where the name is free.
            test: as a test run.
        """
        texts = {name: arg_text(value) for name, value in {**(args or {}), **more_args}.items()}
        body = {"args": texts, "test": test}
        runs = self._connection.json("POST", f"/runs/{self.run_id}/rerun", body=body)["runs"]
        return Run(self._connection, next(r for r in runs if r["rerun_of"] == self.run_id))

    def _wait_while_starting(self) -> None:
        """A program can be asked something once it is there, which takes a moment."""
        deadline = time.monotonic() + _START_S
        while self.state == "starting" and time.monotonic() < deadline:
            time.sleep(_FIRST_LOOK_S)

    def _ask(self, what: str, body: dict[str, Any] | None = None) -> "Run":
        runs = self._connection.json("POST", f"/runs/{self.run_id}/{what}", body=body)["runs"]
        self._facts = next(r for r in runs if r["run_id"] == self.run_id)
        return self

    def output_piece(self, name: str, offset: int, limit: int = _OUTPUT_PIECE) -> tuple[bytes, int, bool]:
        """A piece of an output, however long the whole is.

        Args:
            name: of the output.
            offset, limit: from which byte on, and how many at most.

        Returns:
            The bytes, the size of the output now, and whether the run has finished.
        """
        response = self._connection.send(
            "GET",
            f"/runs/{self.run_id}/outputs/{quoted(name)}",
            params={"offset": offset, "limit": limit},
        )
        is_finished = response.headers["X-Apsis-Finished"] == "true"
        return response.content, int(response.headers["X-Apsis-Size"]), is_finished

    def last_lines(self, count: int, name: str | None = None, *, colours: bool = False) -> str:
        """The last lines of an output; empty if there is none.

        Args:
            count: how many.
            name: of the output; by default what it has for errors, else the only one.
            colours: keep the escapes that make colours.
        """
        try:
            if name is None:
                lengths = {output["name"]: output["length"] for output in self.outputs()}
                name = "stderr" if "output" not in lengths and lengths.get("stderr") else "output"
            _, size, _ = self.output_piece(name, 1 << 62)
            piece, _, _ = self.output_piece(name, max(0, size - 16_384))
        except ClientError:
            return ""
        text = piece.decode(errors="replace")
        return _last_lines(text if colours else _ANSI.sub("", text), count)

    def _latest(self) -> dict[str, Any]:
        """Its facts for display: those of before, if the server does not answer."""
        try:
            return self.facts
        except ClientError:
            return self._facts

    def __repr__(self) -> str:
        facts = self._latest()
        args = ", ".join(f"{k}={v}" for k, v in facts["args"].items())
        text = f"<run {self.run_id} of {self.job_id}({args}): {facts['state']}"
        if facts["elapsed_s"] is not None:
            text += f", {_in_words(facts['elapsed_s'])}"
        return text + (f", {facts['message']}" if facts["message"] else "") + ">"

    def _repr_html_(self) -> str:
        return self.card_html()

    def _ipython_display_(self) -> None:
        """While it is under way, its card follows it."""
        if not in_kernel() or self._latest()["state"] in _FINISHED:
            raise NotImplementedError  # so IPython shows what stays as it is
        show_live(self._shown)

    def _shown(self) -> tuple[dict[str, str], bool]:
        """How it is in a cell now, and whether it has ended."""
        is_over = self._latest()["state"] in _FINISHED  # asked first: what is over, the card shows at its end
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}, is_over

    def card_html(self, *, with_output: bool = True) -> str:
        """A card that needs nothing but itself, so that it stays in a saved notebook.

        Args:
            with_output: also the last lines of its output; then the server is asked how it is now.
        """
        facts = self._latest() if with_output else self._facts
        colour = _OUTCOME_COLOURS.get(facts["state"], "#2979b8")
        args = _short(", ".join(f"{k}={v}" for k, v in facts["args"].items()))
        told = [
            ("scheduled", self._local(facts["scheduled_at"])),
            ("started", self._local(facts["started_at"])),
            ("took", None if facts["elapsed_s"] is None else _in_words(facts["elapsed_s"])),
            (
                "late",
                _in_words(facts["late_s"]) if facts["late"] else None,
            ),
            ("labels", _short(", ".join(facts["labels"]))),
            ("says", _short(facts["message"] or facts["skip_reason"] or "")),
        ]
        progress = progress_of((facts.get("meta") or {}).get("meta"))
        bar = ""
        if progress is not None and facts["state"] not in _FINISHED:
            told.insert(0, ("at", progress["message"] or f"{progress['done']:g} of {progress['total']:g}"))
            share = 100 * progress["done"] / progress["total"]
            bar = (
                f"<div role='progressbar' aria-valuenow='{share:.0f}' style='height:4px;margin:.4em 0 .2em;"
                f"border-radius:2px;background:linear-gradient(90deg,{colour} {share:.1f}%,"
                f"rgba(128,128,128,.25) {share:.1f}%)'></div>"
            )
        spans = " · ".join(f"{name} <b>{html.escape(value)}</b>" for name, value in told if value)
        output = self.last_lines(10) if with_output else ""
        pre = (
            "<pre style='margin:.5em 0 0;padding:.4em .6em;max-height:14em;overflow:auto;"
            f"border:1px solid rgba(128,128,128,.35);border-radius:4px'>{html.escape(output)}</pre>"
            if output.strip()
            else ""
        )
        return (
            f"<div style='border-left:4px solid {colour};padding:.3em .8em;margin:.3em 0'>"
            f"<div><b>{html.escape(self.run_id)}</b> {html.escape(self.job_id)}"
            f"{html.escape(f'({args})') if args else ''} "
            f"<span style='border:1px solid {colour};border-radius:1em;padding:0 .6em'>"
            f"{html.escape(facts['state'])}</span></div>"
            f"{bar}<div style='opacity:.85;font-size:.92em'>{spans}</div>{pre}</div>"
        )

    def _local(self, at: str | None) -> str | None:
        if at is None:
            return None
        return format_local(datetime.fromisoformat(at), zone(system_zone()), with_zone=True)


def progress_of(said: Any) -> dict[str, Any] | None:
    """The progress in what a program said of itself; None if there is none, or it makes no sense."""
    told = said.get("progress") if isinstance(said, dict) else None
    if not isinstance(told, dict):
        return None
    done, total = told.get("done"), told.get("total")
    if not (isinstance(done, int | float) and isinstance(total, int | float) and 0 <= done <= total):
        return None
    if not total:
        return None
    return {"done": done, "total": total, "message": str(told.get("message") or "")}


def arg_text(value: Any) -> str:
    """An arg as the text that jobs get."""
    match value:
        case bool():
            return str(value).lower()
        case datetime() if value.tzinfo is not None:
            return format_time(value)
        case datetime() | date():
            return format_iso(value)
        case _:
            return str(value)


def _short(text: str) -> str:
    """A text for a card, which stays small in a saved notebook."""
    return text if len(text) <= _MOST_WORDS else text[:_MOST_WORDS] + " …"


def _in_words(seconds: float) -> str:
    return format_duration(round(seconds, 3 if seconds < 1 else 1))


def _signal_name(signal: str | int) -> str:
    text = str(signal).upper()
    if text.isdecimal() and int(text) in list(Signals):
        return Signals(int(text)).name
    name = text if text.startswith("SIG") else f"SIG{text}"
    if name not in Signals.__members__:
        raise BadRequest(f"{signal!r} is no signal: write for example USR1, SIGUSR1 or 10")
    return name


def _last_lines(text: str, count: int) -> str:
    return "".join(text.splitlines(keepends=True)[-count:]) if count > 0 else ""
