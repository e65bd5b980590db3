"""The page of a run and the overview in a real browser: search, previews, actions, roles."""

import sys

import pytest

from tests.browser.conftest import settle
from tests.browser.test_pages import click, wait_for_words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Leaves a file of each kind; what can be hostile is.
FILES = """
import base64, json, os, nbformat, pyarrow as pa, pyarrow.parquet as pq
os.chdir(os.environ["APSIS_OUTPUT_DIR"])
evil = "<script>parent.caught = 1</script><img src=http://192.0.2.1/x onerror='parent.caught = 1'>"
evil += "<meta http-equiv=refresh content='0;url=http://192.0.2.1/'>"
pq.write_table(pa.table({"n": range(100), "text": [evil] * 100}), "rows.parquet")
open("rows.csv", "w").write("a,b\\n1," + evil + "\\n")
open("facts.json", "w").write(json.dumps({"deep": {"evil": evil}, "n": [1, 2, 3]}))
open("page.html", "w").write("<h1>A page</h1>" + evil)
shown = nbformat.v4.new_output("display_data", {"text/html": evil})
cells = [nbformat.v4.new_markdown_cell("# A title"), nbformat.v4.new_code_cell("1 + 1", outputs=[shown])]
nbformat.write(nbformat.v4.new_notebook(cells=cells), "book.ipynb")
open("dot.png", "wb").write(base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="))
print("left them")
"""


@pytest.fixture(scope="module")
def client(demo):
    with demo.client() as client:
        yield client


def fill(tab, selector, text):
    tab.wait_for_function("selector => deep(selector).length", arg=selector)
    tab.evaluate(
        """([selector, text]) => { const field = deep(selector)[0]
          field.focus(); field.value = text; field.dispatchEvent(new Event("input", {bubbles: true})) }""",
        [selector, text],
    )


def test_a_long_output_is_searched_to_its_last_line(reader, client):
    command = "seq 150000; printf '\\033[31mValueError\\033[0m: no such day\\n'; seq 150000"
    run = client.adhoc(command, label="searched").wait(60)
    tab = reader().open(f"run?id={run.run_id}")
    wait_for_words(tab, ".blocks", "150000")

    fill(tab, ".find input", "77777")
    wait_for_words(tab, ".found", "1 of 2 lines")
    assert tab.evaluate("() => deep('mark.hit')[0].textContent") == "77777"
    assert tab.evaluate("() => CSS.highlights.get('apsis-found').size") == 1
    tab.keyboard.press("Enter")
    wait_for_words(tab, ".found", "2 of 2 lines")
    click(tab, ".later")
    wait_for_words(tab, ".blocks", "\n90000\n")

    click(tab, "button.first-error")
    wait_for_words(tab, "mark.hit", "ValueError: no such day")
    assert tab.evaluate("() => deep('mark.hit .ansi31')[0].textContent") == "ValueError"
    fill(tab, ".find input", "nowhere to be found")
    wait_for_words(tab, ".found", "no line has it")

    click(tab, ".follow")
    tab.wait_for_function(
        "() => !deep('mark.hit').length && /150000\\n$/.test(deep('.blocks')[0].textContent)"
    )


def test_files_are_previewed_and_hostile_ones_do_nothing(reader, client):
    run = client.adhoc([sys.executable, "-c", FILES]).wait(60).result()
    page = reader()
    tab = page.open(f"run?id={run.run_id}")
    shown = {
        "rows.parquet": ("table.head th", "int64"),
        "rows.csv": ("table.head td", "<script>"),
        "facts.json": (".json summary", "deep"),
        "dot.png": (".picture", ""),
        "page.html": ("iframe", ""),
        "book.ipynb": ("iframe", ""),
    }
    tab.wait_for_function("n => deep('.names button').length === n", arg=len(shown) + 1)
    for name, (selector, words) in shown.items():
        click(tab, f".names button[title='{name}']")
        tab.wait_for_function("name => deep('.names [aria-pressed=true]')[0]?.title === name", arg=name)
        wait_for_words(tab, f".preview {selector}", words)
        if selector == "iframe":
            title = "A page" if name == "page.html" else "A title"
            tab.frame_locator(".preview iframe").get_by_text(title).wait_for()
    assert tab.evaluate("() => deep('.picture img').length + (window.caught ?? 0)") == 0
    # The frame's own rules are what keep the hostile parts quiet, and the browser says so.
    told = [c for c in page.complaints if not any(w in c for w in ("sandboxed", "Content Security Policy"))]
    page.complaints[:] = told


def test_a_run_is_signalled_stopped_and_marked(reader, client):
    command = "trap 'echo got it' USR1; while :; do sleep 0.1; done"
    run = client.adhoc(command, label="marked")
    tab = reader().open(f"run?id={run.run_id}")

    click(tab, "button[data-action=signal]")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".said", "SIGUSR1")
    wait_for_words(tab, ".blocks", "got it")
    run.stop().wait(60)
    click(tab, "button[data-action=mark]")
    wait_for_words(tab, "dialog", "Nothing is run")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".big b", "success")
    wait_for_words(tab, ".log", "marked as success")


def test_who_only_looks_sees_why_not(reader, client, demo):
    run = client.adhoc("exit 3").wait(30)
    token = client.make_token("read", name="onlooker")["token"]
    page = reader()
    page.context.clear_cookies()
    page.context.request.get(f"{demo.url}/?token={token}")
    tab = page.open(f"run?id={run.run_id}")

    wait_for_words(tab, ".may-not", "takes the role run")
    assert tab.evaluate("() => deep('.acts button').every(b => b.disabled)")
    wait_for_words(tab, ".why", "exit code 3")


def test_a_pause_is_seen_on_the_overview_and_ended_there(reader, client):
    client.pause(path="ops", reason="the disk is changed")
    tab = reader().open("overview")

    wait_for_words(tab, ".held", "the disk is changed")
    click(tab, "button[data-action=resume-0]")
    wait_for_words(tab, "dialog", "stays skipped")
    click(tab, "dialog button[value=yes]")
    # A backfill that another test made may still be told there.
    tab.wait_for_function("() => !deep('.held').some(e => e.textContent.includes('the disk is changed'))")
    assert client.list_pauses() == []
    settle(tab)
