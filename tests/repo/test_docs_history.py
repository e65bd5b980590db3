"""The page about history has every view, column and frame, as they are, and its examples run."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apsis_nb.client import Client, History
from apsis_nb.demo.history import make_history
from apsis_nb.frames import FRAMES
from apsis_nb.store import Store
from apsis_nb.store.queries import comments, read_sql
from tests.client.serving import served

PAGE = (Path(__file__).parents[2] / "docs/history.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| (.+) \|$", re.MULTILINE)
SAID = comments(read_sql("schema.sql"))


def sections(prefix: str = "") -> dict[str, str]:
    """The text of each section whose title is a name in code, by the name."""
    parts = re.split(rf"^### `{prefix}([a-z_]+)`\n", PAGE, flags=re.MULTILINE)[1:]
    ends = (re.split(r"^##", body, maxsplit=1, flags=re.MULTILINE)[0] for body in parts[1::2])
    return dict(zip(parts[::2], ends, strict=True))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_page_has_each_view_and_column_of_the_schema_and_no_other(tmp_path: Path):
    with Store.open(tmp_path / "runs.duckdb") as store:
        columns = store._readers.rows(
            "SELECT table_name, column_name FROM duckdb_columns()"
            " WHERE schema_name = 'main' AND NOT internal ORDER BY table_oid, column_index",
            {},
        )
    views: dict[str, list[str]] = {}
    for view, column in columns:
        views.setdefault(view, []).append(column)
    for view in ("live_runs", "runs_all", "run_log_all", "run_meta_all", "outputs_all"):
        views[view] = []  # the page says whose columns it has

    told = {view: dict(ROW.findall(text)) for view, text in sections().items()}

    assert {view: sorted(rows) for view, rows in told.items()} == {v: sorted(c) for v, c in views.items()}
    for view, rows in told.items():
        assert words(SAID[view]) in words(sections()[view])
        assert {name: SAID[f"{view}.{name}"] for name in rows} == rows


def test_the_page_has_each_frame_with_its_dtypes_and_no_other():
    told = {name: dict(ROW.findall(text)) for name, text in sections("history/").items()}

    assert told == {
        name: {c.name: f"`{c.dtype}` | {c.doc}" for c in columns} for name, columns in FRAMES.items()
    }
    assert {name for name in dir(History) if not name.startswith("_")} | {"runs"} == told.keys()


def test_each_column_says_its_unit():
    told = {
        f"{title}.{name}": meaning
        for prefix in ("", "history/")
        for title, text in sections(prefix).items()
        for name, meaning in ROW.findall(text)
    }
    units = {"_s": "second", "_b": "bytes", "_h": "hours", "_share": "0 to 1"}
    for end, unit in units.items():
        of_unit = {name: meaning.lower() for name, meaning in told.items() if name.endswith(end)}
        of_unit = {n: m for n, m in of_unit.items() if not re.search(r"the same|both at", m) or unit in m}
        assert {name: meaning for name, meaning in of_unit.items() if unit not in meaning} == {}


# -- the examples


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("history")
    (folder / "state").mkdir()
    make_history(folder / "state" / "runs.duckdb", 3000, until=datetime.now(UTC))
    with served(folder) as server, server.client() as client:
        yield client


@pytest.mark.parametrize("query", blocks("sql"), ids=lambda text: text.split("\n")[0][:40])
def test_each_query_on_the_page_has_an_answer(client: Client, query: str):
    assert not client.sql(query).empty


@pytest.mark.parametrize("example", blocks("python"), ids=lambda text: text.split("\n")[0][:40])
def test_each_example_in_python_runs(
    client: Client, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    exec(example, {"client": client})
