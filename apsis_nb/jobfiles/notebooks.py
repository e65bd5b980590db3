"""What a job has to know of a notebook: its heading, and the params that it takes.

The convention is papermill's (https://papermill.readthedocs.io/en/latest/usage-parameterize.html): the cell
with the tag `parameters` gives names their values, a type may stand as an annotation, and a comment beside it
describes it. Here an annotated name with the value None is one that each run must be given.
"""

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TYPES = ("bool", "int", "float", "str", "date", "time", "datetime")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class NoNotebook(ValueError):
    """A text is no notebook; this says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookFacts:
    """What a job has to know of a notebook."""

    title: str | None  #: its first heading
    params: Mapping[str, Mapping[str, Any]]  #: as a job file has them
    texts: frozenset[str]  #: those that are a date to the job, and a text to the notebook
    notes: tuple[str, ...]  #: what of its parameters can be no arg


def read_notebook(text: str) -> NotebookFacts:
    """What a notebook says of itself.

    Raises:
        NoNotebook: it is none, or one of Jupyter's older formats.
    """
    try:
        content = json.loads(text)
        cells = [(cell["cell_type"], _source(cell), _tags(cell)) for cell in content["cells"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise NoNotebook("it is no notebook of Jupyter's format 4") from None
    tagged = next((s for kind, s, tags in cells if kind == "code" and "parameters" in tags), None)
    params, texts, notes = _params_of(tagged or "")
    headings = (
        re.search(r"^#+ +(.+?)\s*$", source, re.MULTILINE) for kind, source, _ in cells if kind == "markdown"
    )
    title = next((heading[1] for heading in headings if heading), None)
    return NotebookFacts(title=title, params=params, texts=frozenset(texts), notes=tuple(notes))


def notebook_program(path: str, facts: NotebookFacts) -> dict[str, Any]:
    """The program of a job that runs a notebook.

    Args:
        path: of the notebook, as a job file has it.
        facts: of the notebook.
    """
    program: dict[str, Any] = {"type": "notebook", "path": path}
    if facts.texts:
        program["parameters"] = {name: f"{{{{ {name} }}}}" for name in sorted(facts.texts)}
    return program


def param_of(value: object) -> dict[str, Any] | None:
    """A param of the type of a value, with it as default; None: no arg can be such."""
    match value:
        case bool():
            return {"type": "bool", "default": value}
        case int():
            return {"type": "int", "default": value}
        case float() if math.isfinite(value):
            return {"type": "float", "default": value}
        case str():
            return {"type": "date" if _DAY.fullmatch(value) else "str", "default": value}
    return None


def _source(cell: Mapping[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    tags: Sequence[str] = cell.get("metadata", {}).get("tags", ())
    return tags


def _params_of(source: str) -> tuple[dict[str, Mapping[str, Any]], set[str], list[str]]:
    """The params of a cell's assignments; those that are texts there; and what is no param."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return {}, set(), ["its parameters cell is no Python: no param is taken from it"]
    comments = _comments(source)
    params: dict[str, Mapping[str, Any]] = {}
    texts, notes = set(), []
    for statement in statements:
        kind: str | None = None
        value: ast.expr | None
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                kind = ast.unparse(annotation).rpartition(".")[2]
            case _:
                continue
        param = _param(kind if kind in _TYPES else None, value)
        if param is None:
            notes.append(f"{name} stays as it is in the notebook: only numbers, texts and yes or no are args")
            continue
        comment = comments.get(statement.end_lineno or 0)
        params[name] = param | ({"description": comment} if comment else {})
        if param["type"] == "date" and isinstance(value, ast.Constant) and isinstance(value.value, str):
            texts.add(name)
    return params, texts, notes


def _param(kind: str | None, written: ast.expr | None) -> dict[str, Any] | None:
    """The param of a name with this annotation and this value; None: no arg can be such."""
    if written is None or (isinstance(written, ast.Constant) and written.value is None):
        return None if kind is None else {"type": kind}
    match written:
        case ast.Call(func=ast.Name(id="date") | ast.Attribute(attr="date"), args=[year, month, day]):
            parts = [_literal(part) for part in (year, month, day)]
            if not all(isinstance(part, int) for part in parts):
                return None
            return {"type": "date", "default": "{:04}-{:02}-{:02}".format(*parts)}
    value = _literal(written)
    param = param_of(value)
    if param is not None and kind == "float" and param["type"] == "int":
        return {"type": "float", "default": float(value)}
    return param


def _literal(written: ast.expr) -> Any:
    """The value of what is written, or None if it has to be computed."""
    try:
        return ast.literal_eval(written)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None


def _comments(source: str) -> dict[int, str]:
    """The comments of a text that is Python, by line."""
    return {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
