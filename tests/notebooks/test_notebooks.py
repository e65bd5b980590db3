"""Every notebook runs from top to bottom, with a kernel and a server of its own."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.client.serving import environment

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CELL_S = 120

pytestmark = pytest.mark.slow


def text_of(cell: nbformat.NotebookNode) -> str:
    """All that a cell showed, as text."""
    shown = []
    for output in cell.get("outputs", []):
        shown.append(output.get("text", ""))
        shown += [str(value) for value in output.get("data", {}).values()]
    return "\n".join(shown)


@pytest.fixture
def executed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[nbformat.NotebookNode]:
    """The notebook after it was run; a cell that raises fails the test."""
    notebook = nbformat.read(request.param, as_version=4)
    runner = NotebookClient(
        notebook, timeout=CELL_S, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    return runner.execute(env=environment(tmp_path))


@pytest.mark.parametrize("executed", NOTEBOOKS[:1], indirect=True, ids=lambda file: file.stem)
def test_the_quickstart_shows_what_it_tells(executed):
    shown = {cell["source"]: text_of(cell) for cell in executed.cells if cell["cell_type"] == "code"}

    def of(words):
        return next(text for source, text in shown.items() if words in source)

    assert "counting for 2026-01-31" in of("print(run.output())")
    assert "success" in of("run.log")
    assert "demo/tick" in of("client.sql")
    assert "is not a whole number" in of('upto="many"')
    assert "broken.yaml:1" in of("progam")
    assert "<iframe" in of("client.timeline")
    assert "application/vnd.jupyter.widget-view+json" in str(executed)
    assert "success" in of("form.wait")


@pytest.mark.parametrize("executed", NOTEBOOKS[1:2], indirect=True, ids=lambda file: file.stem)
def test_the_notebook_of_history_shows_what_it_tells(executed):
    shown = {cell["source"]: text_of(cell) for cell in executed.cells if cell["cell_type"] == "code"}

    def of(words):
        return next(text for source, text in shown.items() if words in source)

    slower = of("history.drift(")
    assert slower.index("etl/nightly") < slower.index("ml/score"), "the one that was made slower comes first"
    assert "exit code 1" in of("message, count(*)")
    assert "server" in of("late_why, count(*)")
    assert sum("<iframe" in text for text in shown.values()) == 7
    assert "Runs of" in of("client.report(month)")


#: Of the others, what a cell with these words shows.
SHOWN = {
    "03_adhoc_runs": {"by hand": "success", 'rerun(step="1m")': "'r3'"},
    "04_job_studio": {"shedule:": "did you mean 'schedule'", "_templates": "vendor"},
    "05_notebook_jobs": {"run.outputs()": "orders.html", "1 / 0": "cell 3 of 7 failed: ZeroDivisionError"},
    "06_schedules": {"2026-03-28": "2026-10-25 02:30:00+02:00", "ap.simulate(": "of them wait"},
    "07_late_and_missed": {"%%apsis_sql": "condition", "waiting.why()": "slow-start", "missed(": "busy"},
}


@pytest.mark.parametrize("executed", NOTEBOOKS[2:], indirect=True, ids=lambda file: file.stem)
def test_each_other_notebook_shows_what_it_tells(executed, request: pytest.FixtureRequest):
    name = request.node.callspec.id
    cells = [cell for cell in executed.cells if cell["cell_type"] == "code"]
    for words, said in SHOWN[name].items():
        shown = [text_of(cell) for cell in cells if words in cell["source"]]
        assert any(said in text for text in shown), (words, shown)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_kept_with_its_outputs(file):
    notebook = nbformat.read(file, as_version=4)
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]

    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
