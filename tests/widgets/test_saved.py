"""What widgets leave in a saved notebook: the last state of each, without server, kernel or network."""

import html
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from tests.client.serving import served

HEAD = r"""
import threading, time
import apsis_nb as ap
client = ap.connect()
COLOURS = r"sleep 0.5; for i in {1..3000}; do printf '\e[31m<\e[0m'; done"
def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.02)
"""
#: What is shown, then what happens to it in a later cell, and what the notebook must still show of that.
SHOWN = {
    "form = ap.widgets.RunForm(client, 'greet/hello'); form": (
        "form.fields['name'].widget.value = '<later>'; form.label.value = 'kept'\n"
        "form.button.click(); form.wait(30)",
        ["hello &lt;later&gt;", "success", "kept"],
    ),
    # Colours for each sign make much HTML of little output.
    "card = ap.widgets.RunCard(client, client.adhoc(COLOURS)); card": (
        "card.wait(30)",
        ["success", "ansi31"],
    ),
    "tail = ap.widgets.LogTail(client, form.run); tail": ("", ["hello &lt;later&gt;"]),
    "adhoc = ap.widgets.AdhocRun(client, 'echo by hand; exit 3'); adhoc": (
        "adhoc.button.click(); adhoc.wait(30)",
        ["echo by hand; exit 3", "by hand\n", "exit code 3"],
    ),
    "studio = ap.widgets.JobStudio(client, 'greet/hello'); studio": (
        "studio.editor.value += 'progam: x'\nuntil(lambda: 'did you mean' in studio._kept_html)",
        ["Says hello.", "did you mean &#x27;program&#x27;", "+progam: x"],
    ),
    "table = ap.widgets.LiveRuns(client, rows=9); table": (
        "run = client.schedule('greet/again', name='last'); run.wait(30)\n"
        "until(lambda: 'name=last' in table.ui.value and 'running' not in table.ui.value)\ntable.close()",
        ["greet/again(name=last)", "success"],
    ),
}
#: A run itself, whose card follows it; then the thread that does so.
RUN = (
    "run = client.adhoc('sleep 0.3; echo at the end'); run",
    "for thread in threading.enumerate():\n    if thread.name == 'cell': thread.join(30)",
)
COMPLETES = """print(get_ipython().complete('client.jobs["gre')[1])"""
PICTURES = [
    "client.timeline()",
    "client.jobs['greet/hello'].plot.lateness()",
    "client.calendar(since='366d')",
]


def test_a_saved_notebook_shows_the_last_state_of_each_widget_without_a_server(tmp_path: Path):
    sources = [
        HEAD,
        *(source for shows, (then, _) in SHOWN.items() for source in (shows, then)),
        *RUN,
        COMPLETES,
        *PICTURES,
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    with served(tmp_path) as server:
        env = {**server.env, "APSIS_NB_URL": server.url, "APSIS_NB_TOKEN": server.token}
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute(env=env)
    assert notebook.metadata.widgets, "it knows how to draw the widgets, for whoever has their JavaScript"
    exporter = HTMLExporter(template_name="basic")
    page, _ = exporter.from_notebook_node(nbformat.reads(nbformat.writes(notebook), as_version=4))

    seen = html.unescape(re.sub("<script.*?</script>", "", page, flags=re.DOTALL))
    for n, (shows, (_, words)) in enumerate(SHOWN.items()):
        live, still = notebook.cells[1 + 2 * n].outputs
        assert "application/vnd.jupyter.widget-view+json" in live.data
        kept = still.data["text/html"]
        assert [word for word in words if word not in kept] == [], (shows, kept)
        assert "//" not in kept.replace("</", ""), shows
        assert len(kept.encode()) < 64_000
        assert re.search(r"apsis-still-\w+", kept)[0] in seen
        assert [word for word in words if html.unescape(word) not in seen] == []
    (run,) = notebook.cells[-3 - len(PICTURES)].outputs
    assert "at the end" in run.data["text/html"]
    assert "success" in run.data["text/html"]
    (completed,) = notebook.cells[-1 - len(PICTURES)].outputs
    assert "greet/hello" in completed.text
    assert page.count("<iframe") == 2
    (calendar,) = notebook.cells[-1].outputs
    assert "runs: " in calendar.data["text/html"]
    assert len(calendar.data["text/html"].encode()) < 64_000
    assert re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page) == []
