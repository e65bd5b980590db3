"""Listings on standard output: as a table that fits the terminal, as JSON, or as CSV."""

import csv
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from apsis_nb.cli.options import Format
from apsis_nb.config import system_zone
from apsis_nb.core.times import format_daytime, format_duration, format_local, zone

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Of states, for a terminal; the word itself always stands there too.
_STATE_STYLES = {
    "success": "green",
    "failure": "bold red",
    "error": "bold red",
    "skipped": "dim",
    "running": "cyan",
    "starting": "cyan",
    "stopping": "magenta",
    "waiting": "yellow",
}

Facts = Mapping[str, Any]

_LEAST_WIDTH = 10
_LEAST_SPARE = 24  # characters below which a spare column stands better in a line of its own
_GAP = "  "  # between two columns


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of a table."""

    head: str
    text: Callable[[Facts], str]
    right: bool = False  #: aligned right
    gives_way: bool = False  #: cut short first where the terminal is narrow
    least: int = _LEAST_WIDTH  #: characters that it keeps then
    spare: bool = False  #: takes several lines if need be, or stands below its row; it is never cut
    style: Callable[[Facts], str] | None = None


def show(rows: Sequence[Facts], columns: Sequence[Shown], format: Format, *, empty: str) -> None:
    """Write a listing.

    Args:
        rows: the facts; JSON and CSV have all of them, with the names of the API.
        columns: of the table.
        format: which of the three.
        empty: what a table says that has no rows.
    """
    match format:
        case Format.json:
            show_json(rows)
        case Format.csv:
            show_csv(list(rows[0]) if rows else [], rows)
        case Format.table:
            if rows:
                console = console_of()
                for line in table_lines(console, rows, columns):
                    _print(console, line)
            else:
                sys.stderr.write(empty + "\n")


def show_json(rows: Sequence[Facts]) -> None:
    """Write a list of objects."""
    sys.stdout.write(json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n")


def show_csv(names: Sequence[str], rows: Sequence[Facts]) -> None:
    """Write comma-separated values; lists and mappings as JSON text, nothing as nothing."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_csv_value(row.get(name)) for name in names])


def show_facts(pairs: Sequence[tuple[str, str]], *, title: str) -> None:
    """Write a page: a title, then a line for each pair; pairs with an empty value are left out."""
    from rich.text import Text

    console = console_of()
    for line in [Text(clean(title), style="bold"), *facts_lines(console, pairs)]:
        _print(console, line)


def facts_lines(console: "Console", pairs: Sequence[tuple[str, str]]) -> Iterator["Text"]:
    """Names and values in two columns; pairs with an empty value are left out."""
    from rich.cells import cell_len
    from rich.text import Text

    told = [(clean(name), value) for name, value in pairs if value]
    width = max((cell_len(name) for name, _ in told), default=0)
    for name, value in told:
        style = _STATE_STYLES.get(value, "") if name == "state" else ""
        head = Text(name.ljust(width), style="dim")
        for line in value.splitlines():
            for part in _folded(console, Text(clean(line), style=style), console.width - width - len(_GAP)):
                yield Text.assemble(head, _GAP, part)
                head = Text(" " * width)


def show_lines(lines: Iterable[str]) -> None:
    """Write sentences, each on a line; on a terminal they break between words, and keep their indent."""
    from rich.text import Text

    console = console_of()
    for line in lines:
        text = clean(line).rstrip()
        indent = " " * (len(text) - len(text.lstrip()))
        for part in _folded(console, Text(text.lstrip()), console.width - len(indent)) or [Text()]:
            _print(console, Text.assemble(indent, part))


def console_of() -> "Console":
    """The terminal; what is not one gets no colours and lines as long as they are.

    On a terminal, too, the variable NO_COLOR of the environment means: no colours.
    """
    from rich.console import Console

    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    if not sys.stdout.isatty():
        return Console(**plain, width=10_000, color_system=None)
    return Console(**plain, color_system=None if os.environ.get("NO_COLOR") else "auto")


def clean(text: str) -> str:
    """Text of jobs and programs as a terminal may have it: on one line, nothing that moves the cursor."""
    return "".join(c if c.isprintable() else " " for c in text)


def state_style(facts: Facts) -> str:
    """The colour of a row's state."""
    return _STATE_STYLES.get(str(facts["state"]), "")


def run_columns(*, without_job: bool = False, short: bool = False) -> list[Shown]:
    """The columns of a listing of runs; `short`: their zone is told elsewhere."""
    columns = [
        Shown("run", lambda r: r["run_id"]),
        Shown("job", lambda r: r["job_id"], gives_way=True, least=28),
        Shown("state", lambda r: r["state"], style=state_style),
        Shown("scheduled" if short else zone_head("scheduled"), lambda r: local(r["scheduled_at"])),
        Shown("took", lambda r: duration(r["elapsed_s"]), right=True),
        Shown(
            "late", lambda r: duration(r["late_s"]) if r["late"] else "", right=True, style=lambda r: "yellow"
        ),
        Shown("args", lambda r: args_text(r["args"]), spare=True),
        Shown("message", lambda r: r["message"] or r["skip_reason"] or "", spare=True),
    ]
    return [column for column in columns if not (without_job and column.head == "job")]


def args_text(args: Mapping[str, str]) -> str:
    """`date=2026-01-31 model=b`."""
    return " ".join(f"{name}={value}" for name, value in args.items())


@cache
def local_zone() -> ZoneInfo:
    """The zone of whoever reads."""
    return zone(system_zone())


def zone_head(head: str, tz: ZoneInfo | None = None) -> str:
    """The head of a column of times of a zone, by default the reader's."""
    return f"{head} ({(tz or local_zone()).key.removeprefix('Etc/')})"


def local(at: str | None, tz: ZoneInfo | None = None) -> str:
    """A time of the API as the clocks of a zone, by default the reader's, show it, to the second."""
    if at is None:
        return ""
    return format_local(datetime.fromisoformat(at), tz or local_zone())


def local_clock(at: str) -> str:
    """What the reader's clocks show at a time of the API, without the date."""
    return format_daytime(datetime.fromisoformat(at).astimezone(local_zone()).time())


def local_with_zone(at: str | None) -> str:
    """As `local`, with the zone's short name."""
    if at is None:
        return ""
    return format_local(datetime.fromisoformat(at), local_zone(), with_zone=True)


def duration(seconds: float | None) -> str:
    """A duration as short as it can be read: tenths from a second on, no fractions from a minute on."""
    if seconds is None:
        return ""
    return format_duration(round(seconds, 3 if seconds < 1 else 1 if seconds < 60 else 0))


def size_text(size_b: float | None) -> str:
    """A number of bytes as it is read: `12.3 MB`."""
    if size_b is None:
        return "unknown"
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_b < 1000:
            return f"{size_b:.3g} {unit}"
        size_b /= 1000
    return f"{size_b:,.1f} TB"


def counts_text(counts: Mapping[str, int]) -> str:
    """`success 170, failure 3`: the most first."""
    most_first = sorted(counts.items(), key=lambda found: -found[1])
    return ", ".join(f"{state} {count:,}" for state, count in most_first) or "none"


def program_text(program: Facts) -> str:
    """What a program executes, as one would type it."""
    match program["type"]:
        case "shell":
            return str(program["command"]).strip()
        case "argv":
            return shlex.join(program["argv"])
        case "python":
            return str(program["call"])
        case "sql":
            return str(program["query"]).strip()
        case kind:
            return str(kind)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column and what stands in it."""

    shown: Shown
    texts: Sequence[str]

    def width(self, heads: Sequence[str]) -> int:
        """That at which nothing is cut."""
        from rich.cells import cell_len

        return max(map(cell_len, [*heads, *self.texts]), default=0)

    def least(self, heads: Sequence[str]) -> int:
        """That at which what it says can still be read."""
        width = self.width(heads)
        if self.shown.spare:
            return min(width, _LEAST_SPARE)
        return min(width, self.shown.least) if self.shown.gives_way else width


def table_lines(console: "Console", rows: Sequence[Facts], columns: Sequence[Shown]) -> list["Text"]:
    """A table as wide as the terminal, its heads first.

    Where it is too narrow, heads take two lines and empty columns are left out; then columns are cut that
    give way, or stand below; and where that does not do either, each row becomes a page.
    """
    grid = [_Column(shown, [clean(shown.text(row)) for row in rows]) for shown in columns]
    below: list[_Column] = []
    heads = [[column.shown.head] for column in grid]
    if not _fits(console, [column.width(head) for column, head in zip(grid, heads, strict=True)]):
        grid = [column for column in grid if any(column.texts)]
        heads = [_in_lines(column.shown.head) for column in grid]
        if not _fits(console, [column.least(head) for column, head in zip(grid, heads, strict=True)]):
            below = [column for column in grid if column.shown.spare]
            grid = [column for column in grid if not column.shown.spare]
            heads = [_in_lines(column.shown.head) for column in grid]
        if not _fits(console, [column.least(head) for column, head in zip(grid, heads, strict=True)]):
            return list(_pages(console, [*grid, *below], len(rows)))
    return list(_grid_lines(console, rows, grid, heads, below))


def _grid_lines(
    console: "Console",
    rows: Sequence[Facts],
    grid: Sequence[_Column],
    heads: Sequence[Sequence[str]],
    below: Sequence[_Column],
) -> Iterator["Text"]:
    from rich.text import Text

    widths = [column.width(head) for column, head in zip(grid, heads, strict=True)]
    least = [column.least(head) for column, head in zip(grid, heads, strict=True)]
    while not _fits(console, widths):
        _, n = max((width, n) for n, width in enumerate(widths) if width > least[n])
        widths[n] -= 1

    def line(texts: Iterable["Text"]) -> "Text":
        parts = (_padded(t, w, c.shown.right) for t, w, c in zip(texts, widths, grid, strict=True))
        told = Text(_GAP).join(parts)
        told.rstrip()
        return told

    for n in range(max(map(len, heads))):
        yield line(Text(head[n] if n < len(head) else "", style="dim") for head in heads)
    for n, row in enumerate(rows):
        cells = [Text(c.texts[n], style=_style(c.shown, row)) for c in grid]
        parts = [
            _folded(console, cell, width) if column.shown.spare else [cell]
            for cell, width, column in zip(cells, widths, grid, strict=True)
        ]
        for texts in zip_longest(*parts):
            yield line(text or Text() for text in texts)
        words = _GAP.join(c.texts[n] for c in below if c.texts[n])
        for part in _folded(console, Text(words), console.width - len(_GAP)) if words else ():
            yield Text.assemble(_GAP, part)


def _pages(console: "Console", columns: Sequence[_Column], rows: int) -> Iterator["Text"]:
    """Each row as a page of its own."""
    from rich.text import Text

    for n in range(rows):
        if n:
            yield Text()
        yield from facts_lines(console, [(c.shown.head, c.texts[n]) for c in columns])


def _fits(console: "Console", widths: Sequence[int]) -> bool:
    return sum(widths) + len(_GAP) * (len(widths) - 1) <= console.width


def _in_lines(head: str) -> list[str]:
    """A head in two lines, if it has a part in parentheses."""
    name, parenthesis, rest = head.partition(" (")
    return [name, f"({rest}"] if parenthesis else [head]


def _style(shown: Shown, row: Facts) -> str:
    return shown.style(row) if shown.style else ""


def _padded(text: "Text", width: int, right: bool) -> "Text":
    """Text that is cut or filled to a width."""
    text.truncate(width, overflow="ellipsis")
    blanks = " " * (width - text.cell_len)
    return type(text).assemble(blanks, text) if right else type(text).assemble(text, blanks)


def _folded(console: "Console", text: "Text", width: int) -> list["Text"]:
    """Text in lines of at most a width."""
    lines = text.wrap(console, max(width, _LEAST_WIDTH), overflow="fold")
    for line in lines:
        line.rstrip()
    return list(lines)


def _print(console: "Console", line: "Text") -> None:
    console.print(line, soft_wrap=True)


def _csv_value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
