"""What a run's files look like: the head of a table, a picture, folded JSON, a notebook, a page of HTML.

Whatever a program wrote may be hostile. All text is escaped; pictures are images, which run nothing;
notebooks and pages stand in a frame that runs no script, sends no form and asks no host.
"""

import base64
import csv
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from apsis_nb.client import Run
from apsis_nb.core.errors import ApsisError

from . import markup
from .markup import text

Kind = Literal["log", "parquet", "csv", "picture", "json", "notebook", "page", "other"]

MOST_ROWS, MOST_COLUMNS, MOST_CELL = 50, 40, 120  #: of the head of a table; characters of a cell
CSV_BYTES = 64 * 1024  #: of a CSV file that are read
MOST_BYTES = 4 << 20  #: of a file that is shown as a whole
MOST_GROUP_BYTES = 256 << 20  #: of a Parquet file's first row group, which is read at once
MOST_NODES, MOST_DEPTH = 2000, 40  #: of JSON
MOST_TEXT = 2000  #: characters of a text in JSON

_KINDS: dict[str, Kind] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/json": "json",
    "application/x-ipynb+json": "notebook",
    "text/html": "page",
    "text/markdown": "log",
    "text/plain": "log",
    "application/xml": "log",
}
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"})

#: What nbconvert has to say of notebooks of others is nobody's concern here.
_SILENT = logging.Logger("nbconvert", logging.CRITICAL)
#: What a frame may load: nothing but what it has in itself.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_NOTEBOOK_CSS = (Path(__file__).parent / "notebook.css").read_text(encoding="utf-8")


def kind_of(content_type: str) -> Kind:
    """How an output of a media type is shown."""
    return "picture" if content_type in _PICTURES else _KINDS.get(content_type, "other")


def preview_html(run: Run, name: str, content_type: str, size: int) -> str:
    """An output as HTML; what cannot be shown is said in words. Asks the server: call it in a thread.

    Args:
        run: whose output it is.
        name, content_type: of the output.
        size: its length in bytes.
    """
    kind = kind_of(content_type)
    try:
        match kind:
            case "parquet":
                return _parquet_html(run, name, size)
            case "csv":
                return _csv_html(run.output_piece(name, 0, CSV_BYTES)[0], size, content_type)
            case "other" | "log":
                return markup.nothing("There is no preview of such a file; it can be downloaded.")
        if size > MOST_BYTES:
            return markup.nothing(
                f"It has {markup.size(size)}, and up to {markup.size(MOST_BYTES)} are shown here; "
                "it can be downloaded."
            )
        return _WHOLE[kind](run.output_bytes(name), content_type)
    except ApsisError as error:
        return markup.nothing(f"It cannot be read: {error}")


# ---- Tables ----


class _Ranged(io.RawIOBase):
    """An output as a file that is read only where somebody looks."""

    def __init__(self, run: Run, name: str, size: int) -> None:
        self._run, self._name, self._size, self._at = run, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def read(self, size: int = -1) -> bytes:
        wanted = self._size - self._at if size < 0 else size
        piece, _, _ = self._run.output_piece(self._name, self._at, wanted) if wanted > 0 else (b"", 0, True)
        self._at += len(piece)
        return piece


def _parquet_html(run: Run, name: str, size: int) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.PythonFile(_Ranged(run, name, size), mode="r"))
        about, names = file.metadata, file.schema_arrow.names
        head = f"{about.num_rows:,} rows, {len(names):,} columns"
        if about.num_row_groups and about.row_group(0).total_byte_size > MOST_GROUP_BYTES:
            return markup.nothing(f"{head}: its first part is too large to be shown here.")
        columns = names[:MOST_COLUMNS]
        types = [str(file.schema_arrow.field(n).type) for n in range(len(columns))]
        first = (
            next(file.iter_batches(batch_size=MOST_ROWS, columns=columns), None) if about.num_rows else None
        )
        rows = [] if first is None else [list(row) for row in zip(*map(_values, first.columns), strict=True)]
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        return markup.nothing(f"It cannot be read as Parquet: {_short(str(error))}")
    return _table_html(columns, types, rows, f"{head}; the first {len(rows):,} rows" if rows else head)


def _values(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _csv_html(data: bytes, size: int, content_type: str) -> str:
    is_whole = size <= len(data)
    words = data.decode("utf-8-sig", errors="replace")
    if not is_whole:
        words = words[: words.rfind("\n") + 1] or words
    delimiter = "\t" if content_type == "text/tab-separated-values" else _delimiter(words)
    try:
        found = list(_first(csv.reader(io.StringIO(words), delimiter=delimiter), MOST_ROWS + 2))
    except csv.Error as error:
        return markup.nothing(f"It cannot be read as a table: {error}")
    if not found:
        return markup.nothing("It is empty.")
    heads, rows = found[0], found[1 : MOST_ROWS + 1]
    is_all = is_whole and len(found) < MOST_ROWS + 2
    what = f"{len(rows):,} rows" if is_all else f"the first {len(rows):,} rows of {markup.size(size)}"
    return _table_html(heads[:MOST_COLUMNS], [], [row[:MOST_COLUMNS] for row in rows], what)


def _delimiter(words: str) -> str:
    """Of the usual ones that which the first line has most often."""
    first = words.partition("\n")[0]
    return max(",;\t|", key=first.count)


def _first(rows: Iterator[list[str]], count: int) -> Iterator[list[str]]:
    for _ in range(count):
        row = next(rows, None)
        if row is None:
            return
        yield row


def _table_html(heads: list[str], types: list[str], rows: list[list[Any]], what: str) -> str:
    kinds = types or [""] * len(heads)
    head = "".join(
        f'<th scope="col">{text(_short(name))}<small>{text(_short(kind, 40))}</small></th>'
        for name, kind in zip(heads, kinds, strict=True)
    )
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return (
        f'<p class="about">{text(what)}</p><div class="scroll"><table class="head">'
        f"<caption>{text(what)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if value is None:
        return f'<td class="muted">{markup.NONE}</td>'
    kind = ' class="num"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return f"<td{kind}>{text(_short(str(value)))}</td>"


def _short(words: str, most: int = MOST_CELL) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


# ---- Files that are shown as a whole ----


def _picture_html(data: bytes, content_type: str) -> str:
    # As an image even SVG runs no script and loads nothing.
    address = f"data:{content_type};base64,{base64.b64encode(data).decode()}"
    return f'<p class="picture"><img src="{address}" alt="The picture that the run made"></p>'


def _json_html(data: bytes, content_type: str) -> str:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        words = _short(data.decode(errors="replace"), 20_000)
        return (
            markup.nothing(f"It is no JSON: {_short(str(error))}") + f'<pre class="code">{text(words)}</pre>'
        )
    return f'<div class="json mono">{json_tree(value)}</div>'


def json_tree(value: Any) -> str:
    """A value of JSON as HTML that unfolds; the first two levels are open."""
    left = [MOST_NODES]
    return _node(None, value, 0, left) + ("" if left[0] > 0 else '<p class="muted">… and more</p>')


def _node(name: str | None, value: Any, depth: int, left: list[int]) -> str:
    left[0] -= 1
    if left[0] < 0:
        return ""
    key = "" if name is None else f"<b>{text(_short(name))}</b>: "
    if not isinstance(value, dict | list) or not value:
        return f'<div class="leaf">{key}{_leaf(value)}</div>'
    pairs = value.items() if isinstance(value, dict) else ((str(n), v) for n, v in enumerate(value))
    count = (
        f"{len(value):,} {'member' if isinstance(value, dict) else 'value'}{'s' if len(value) > 1 else ''}"
    )
    if depth >= MOST_DEPTH:
        return f'<div class="leaf">{key}<span class="muted">{count}, too deep to be shown</span></div>'
    inner = []
    for k, v in pairs:
        inner.append(_node(str(k), v, depth + 1, left))
        if left[0] < 0:
            break
    opened = " open" if depth < 2 and len(value) <= 50 else ""
    summary = f'<summary>{key}<span class="muted">{count}</span></summary>'
    return f"<details{opened}>{summary}{''.join(inner)}</details>"


def _leaf(value: Any) -> str:
    if isinstance(value, str):
        return f'<span class="text">{text(json.dumps(_short(value, MOST_TEXT), ensure_ascii=False))}</span>'
    return f'<span class="value">{text(_short(json.dumps(value)))}</span>'


def _notebook_html(data: bytes, content_type: str) -> str:
    try:
        import nbformat
        from nbconvert import HTMLExporter
    except ImportError:
        return markup.nothing(
            "Notebooks are shown where nbconvert is installed: pip install 'apsis_nb[notebook]'"
        )
    try:
        notebook = nbformat.reads(data.decode(errors="replace"), as_version=4)
        notebook.metadata.pop("widgets", None)  # what would draw them comes from another host
        exporter = HTMLExporter(template_name="basic", log=_SILENT)
        body, _ = exporter.from_notebook_node(notebook)
    except Exception as error:  # whatever its libraries raise of a file that somebody else wrote
        return markup.nothing(f"It cannot be shown as a notebook: {_short(str(error).partition(chr(10))[0])}")
    return framed(f"<style>{_NOTEBOOK_CSS}</style>{body}", "The notebook")


def _page_html(data: bytes, content_type: str) -> str:
    return framed(data.decode(errors="replace"), "The page that the run made")


def framed(html: str, title: str) -> str:
    """HTML of somebody else in a frame where it can do nothing but be seen."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    inner = f'<!doctype html><meta charset="utf-8">{policy}{html}'
    return f'<iframe class="frame" sandbox title="{text(title)}" srcdoc="{text(inner)}"></iframe>'


_WHOLE: dict[str, Callable[[bytes, str], str]] = {
    "picture": _picture_html,
    "json": _json_html,
    "notebook": _notebook_html,
    "page": _page_html,
}
