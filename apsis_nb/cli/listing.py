"""Listings on standard output: as a table that fits the terminal, as JSON, or as CSV."""

import csv
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from apsis_nb.cli.options import Format
from apsis_nb.config import system_zone
from apsis_nb.core.times import format_daytime, format_duration, format_local, zone

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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

_LEAST_WIDTH = 10  # characters that a column keeps that gives way


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of a table."""

    head: str
    text: Callable[[Facts], str]
    right: bool = False  #: aligned right
    gives_way: bool = False  #: cut short first where the terminal is narrow
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
                _show_table(rows, columns)
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
    from rich.table import Table
    from rich.text import Text

    console = console_of()
    console.print(Text(clean(title), style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            style = _STATE_STYLES.get(value, "") if name == "state" else ""
            table.add_row(name, Text("\n".join(clean(line) for line in value.splitlines()), style=style))
    _print(console, table)


def console_of() -> "Console":
    """The terminal; what is not one gets no colours and lines as long as they are."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(
        highlight=False, markup=False, emoji=False, width=10_000, color_system=None, soft_wrap=True
    )


def clean(text: str) -> str:
    """Text of jobs and programs as a terminal may have it: on one line, nothing that moves the cursor."""
    return "".join(c if c.isprintable() else " " for c in text)


def state_style(facts: Facts) -> str:
    """The colour of a row's state."""
    return _STATE_STYLES.get(str(facts["state"]), "")


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


def _show_table(rows: Sequence[Facts], columns: Sequence[Shown]) -> None:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    console = console_of()
    texts = [[clean(c.text(row)) for c in columns] for row in rows]
    widths = [max(cell_len(c.head), *(cell_len(words[n]) for words in texts)) for n, c in enumerate(columns)]
    while sum(widths) + 2 * (len(widths) - 1) > console.width:
        width, n = max(((w, n) for n, w in enumerate(widths) if columns[n].gives_way), default=(0, 0))
        if width <= _LEAST_WIDTH:
            break
        widths[n] -= 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.head, justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)
    for row, words in zip(rows, texts, strict=True):
        styles = [c.style(row) if c.style else "" for c in columns]
        table.add_row(*(Text(t, style=s) for t, s in zip(words, styles, strict=True)))
    _print(console, table)


def _print(console: "Console", table: "Table") -> None:
    """Print a table; where it is read by a program, without the blanks that fill its lines."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _csv_value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
