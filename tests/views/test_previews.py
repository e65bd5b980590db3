"""What the files of a run look like; and that a hostile one can do nothing."""

import base64
import io
import json

import nbformat
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apsis_nb.client import NoSuch
from apsis_nb.views.previews import MOST_BYTES, MOST_NODES, MOST_ROWS, json_tree, kind_of, preview_html
from tests.views.test_markup import Tags

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def preview(server):
    """The preview of a file that a real run has left."""
    with server.client() as client:

        def show(name: str, data: bytes, media_type: str) -> str:
            code = base64.b64encode(data).decode()
            run = client.adhoc(f"printf %s '{code}' | base64 -d > \"$APSIS_OUTPUT_DIR/{name}\"").wait(30)
            (about,) = [o for o in run.outputs() if o["name"] == name]
            assert about["content_type"] == media_type
            return preview_html(run, name, media_type, about["length"])

        yield show


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def test_a_parquet_file_is_shown_by_its_head(preview):
    table = pa.table({"n": range(1000), EVIL: [EVIL] * 1000})
    page = Tags(preview("a.parquet", parquet(table), "application/vnd.apache.parquet"))

    assert "1,000 rows, 2 columns" in page.words
    assert "int64" in page.words
    assert page.tags.count("tr") == MOST_ROWS + 1
    assert not {"script", "img"} & set(page.tags)


def test_a_csv_file_is_shown_by_its_head(preview):
    lines = "a;b\n" + "".join(f'{n};"{EVIL}"\n' for n in range(80))
    page = Tags(preview("a.csv", lines.encode(), "text/csv"))

    assert page.tags.count("th") == 2
    assert page.tags.count("tr") == MOST_ROWS + 1
    assert not {"script", "img"} & set(page.tags)


def test_json_unfolds(preview):
    page = preview("a.json", json.dumps({EVIL: [1, None, {"deep": EVIL}]}).encode(), "application/json")

    assert Tags(page).tags.count("details") == 3
    assert not {"script", "img"} & set(Tags(page).tags)


def test_endless_json_is_cut():
    value: list[object] = []
    for _ in range(900):
        value = [value, 1]
    page = json_tree([value, *range(10 * MOST_NODES)])

    assert "and more" in page
    assert page.count("<div") < 2 * MOST_NODES


def test_a_notebook_and_a_page_stand_in_a_frame_that_can_do_nothing(preview):
    cell = nbformat.v4.new_code_cell(
        "1 + 1", outputs=[nbformat.v4.new_output("display_data", {"text/html": EVIL})]
    )
    notebook = nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()
    files = [("a.ipynb", notebook, "application/x-ipynb+json"), ("a.html", EVIL.encode(), "text/html")]
    for name, data, media_type in files:
        page = preview(name, data, media_type)
        assert Tags(page).tags == ["iframe"]
        assert " sandbox title" in page
        assert "default-src &#x27;none&#x27;" in page
        assert "alert(1)" in page


def test_a_picture_is_an_image_that_needs_no_address(preview):
    page = preview("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")

    assert Tags(page).tags == ["p", "img"]
    assert "data:image/svg+xml;base64," in page


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.ipynb", "application/x-ipynb+json"),
        ("a.json", "application/json"),
    ],
)
def test_what_is_not_what_its_name_says_is_told_in_words(preview, name, media_type):
    page = preview(name, EVIL.encode(), media_type)

    assert "It " in Tags(page).words
    assert not {"script", "img"} & set(Tags(page).tags)


def test_what_is_too_large_or_gone_is_told_in_words(client):
    run = client.adhoc("true").wait(30)

    assert "4.2 MB are shown" in preview_html(run, "a.png", "image/png", MOST_BYTES + 1)
    assert "cannot be read" in preview_html(run, "a.png", "image/png", 10)
    with pytest.raises(NoSuch):
        run.output_piece("a.png", 0)


def test_what_nobody_knows_is_offered_as_it_is():
    assert kind_of("application/zip") == "other"
    assert kind_of("image/webp") == "picture"
