"""The SQL of the store, by name: blocks of `queries.sql`, each with a line of why."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_HEAD = re.compile(r"^-- ([a-z_]+) --$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    """A named block."""

    name: str
    why: str
    text: str

    @property
    def params(self) -> frozenset[str]:
        """The names of its `$parameters`."""
        return frozenset(re.findall(r"\$([a-z_0-9]+)", self.text))


def read_sql(name: str) -> str:
    """The text of an SQL file of this package."""
    return files("apsis_nb.store").joinpath(name).read_text(encoding="utf-8")


@cache
def queries() -> dict[str, Query]:
    """All blocks of `queries.sql`."""
    return {q.name: q for q in parse(read_sql("queries.sql"))}


@cache
def import_queries() -> dict[str, Query]:
    """All blocks of `importing.sql`."""
    return {q.name: q for q in parse(read_sql("importing.sql"))}


@cache
def archive_queries() -> dict[str, Query]:
    """All blocks of `archive.sql`."""
    return {q.name: q for q in parse(read_sql("archive.sql"))}


@cache
def views() -> dict[str, str]:
    """What the views of `schema.sql` select, by name."""
    found = re.findall(
        r"^CREATE VIEW ([a-z_]+) AS\n(.*?);$", read_sql("schema.sql"), re.MULTILINE | re.DOTALL
    )
    return dict(found)


def parse(text: str) -> list[Query]:
    """The blocks of a text: a line `-- name --`, lines of comment, then SQL up to the next block.

    Raises:
        ValueError: a name comes twice, or a block has no comment.
    """
    parts = _HEAD.split(text)[1:]
    found: dict[str, Query] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        lines = body.strip().splitlines()
        why = [line[2:].strip() for line in lines if line.startswith("--")]
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
        if name in found or not why or not sql:
            raise ValueError(f"query {name}: comes twice, or lacks its line of why, or its SQL")
        found[name] = Query(name, " ".join(why), sql)
    return list(found.values())


@cache
def comments(schema: str) -> dict[str, str]:
    """What the last part of a schema text says of each view and column: `-- view.column: meaning`."""
    return dict(re.findall(r"^-- ([a-z_]+(?:\.[a-z_0-9]+)?): (.+)$", schema, re.MULTILINE))
