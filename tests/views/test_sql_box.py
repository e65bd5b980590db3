"""The box for SQL: what it shows of an answer, and the files that it makes."""

import io

import pandas as pd
import pytest

from apsis_nb.client import BadRequest
from apsis_nb.views.sql_box import READY, answer_html, cell_html, file_of, head, wrong_html


@pytest.mark.parametrize(("name", "query"), READY, ids=[name for name, _ in READY])
def test_the_ready_queries_are_answered(client, name, query):
    client.schedule("asked/fails").wait(30)

    assert "<script" not in answer_html(head(client, query, 1001))


def test_only_the_first_rows_are_sent_in_their_order(client):
    query = "SELECT range AS n FROM range(100000) ORDER BY n DESC -- the last;\n ;"

    assert head(client, query, 3)["n"].tolist() == [99999, 99998, 99997]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT job_id, stat FROM runs", '"stat" not found'),
        ("SELECT job_id FROM runs WHERE", 'at or near "WHERE"'),
        ("SELECT 1; SELECT 2", "one"),
        ("DELETE FROM runs", "SELECT"),
    ],
)
def test_a_mistake_is_told_of_the_query_as_it_was_written(client, query, words):
    with pytest.raises(BadRequest, match=words) as caught:
        head(client, query, 10)

    assert "LIMIT" not in str(caught.value)
    assert "<b>" not in wrong_html("<b>")


def test_cells_are_escaped_and_runs_are_links():
    frame = pd.DataFrame(
        {
            "run": ["r12", None],
            "says": ["<script>", "x" * 2000],
            "at": pd.to_datetime(["2026-11-30T09:00Z", None], utc=True),
            "n": [1234567, 2],
            "list": [[1, "<b>"], None],
        }
    )
    html = answer_html(frame)

    assert 'href="run?id=r12"' in html
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html
    assert 'datetime="2026-11-30T09:00:00Z"' in html
    assert html.count("NULL") == 3
    assert "x" * 501 not in html
    assert cell_html(0.1 + 0.2) == "0.3"
    assert "No rows" in answer_html(frame.head(0))


def test_a_long_answer_is_cut_and_says_so():
    html = answer_html(pd.DataFrame({"n": range(1001), "words": ["word " * 80] * 1001}))

    assert len(html) < 600_000
    assert "rows are shown; a download has all" in html


def test_files_have_every_row_and_column():
    frame = pd.DataFrame({"at": pd.to_datetime(["2026-11-30T09:00Z"], utc=True), "job": ["a,b"], "n": [1.5]})

    back = pd.read_parquet(io.BytesIO(file_of(frame, "parquet")))
    assert back["at"].iloc[0] == frame["at"].iloc[0]
    assert file_of(frame, "csv").decode() == 'at,job,n\n2026-11-30T09:00:00.000000Z,"a,b",1.5\n'
