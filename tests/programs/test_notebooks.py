"""Notebooks as programs: real kernels, and every way in which one may end."""

import asyncio
import json
import os
from pathlib import Path

import nbformat
import pytest

from apsis_nb.core.programs import Notebook, Process, Timeout
from apsis_nb.core.runs import Instance
from apsis_nb.programs import notebook_runner

from .serving import a_run, asynchronous, serving, until

PARAMS = "day = '1999-12-31'\nrows = 1  # how many\nfactor = 0.5"


def write(path: Path, *sources: str, tags: dict[int, str] | None = None, kernel: str = "python3") -> Path:
    """A notebook with these cells of code."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    for n, tag in (tags or {}).items():
        cells[n].metadata["tags"] = [tag]
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
    nbformat.write(notebook, path)
    return path


def program(path: Path, **facts) -> Process:
    timeout = facts.pop("timeout", None)
    return Process(task=Notebook(path=str(path), **facts), timeout=timeout)


def kept(server, run_id: int, name: str) -> str:
    return server.programs.read_output(run_id, name)[0].decode()


@asynchronous
async def test_cells_run_in_turn_with_the_args_of_the_run_and_all_is_kept(root):
    root.parent.joinpath("nb").mkdir()
    path = write(
        root.parent / "nb" / "report.ipynb",
        "import os\nfrom datetime import date",
        PARAMS,
        "print('rows', rows, day.isoformat(), factor)",
        "import sys; print('\\x1b[31moh\\x1b[0m', file=sys.stderr)",
        "import pandas as pd; pd.DataFrame({'a': [1, 2]})",
        "",
        *("pass" for _ in range(12)),
        "1 / 0",
        "os.path.basename(os.getcwd())",
        tags={1: "parameters", 18: "raises-exception"},
    )
    task = program(path, parameters={"factor": 2.5}, types={"day": "date", "rows": "int"})
    args = {"day": "2026-01-31", "rows": "7"}
    async with serving(root) as server:
        finished = await server.run(a_run(5, task, inst=Instance("team/job", args)))
        assert (finished.outcome, finished.message) == ("success", None)
        output = server.output(5)
        assert "rows 7 2026-01-31 2.5\n" in output
        assert "\x1b[31moh\x1b[0m\n" in output
        assert "[20/20]" in output
        assert output.endswith("'nb'\n")  # it starts in its own folder
        assert server.programs.ended(5).meta["progress"] == {"done": 20, "total": 20, "message": "done"}
        names = [name for name, _ in server.programs.outputs(5)]
        assert names == ["output", "report.html", "report.ipynb"]
        notebook = nbformat.reads(kept(server, 5, "report.ipynb"), as_version=4)
        injected = notebook.cells[2]
        assert injected.metadata["tags"] == ["injected-parameters"]
        assert "rows = 7" in injected.source
        assert notebook.cells[3].outputs[0].text == "rows 7 2026-01-31 2.5\n"
        page = kept(server, 5, "report.html")
        assert "<title>report</title>" in page
        assert "rows 7 2026-01-31 2.5" in page
        assert "http://" not in page
        assert "https://" not in page
    assert len(nbformat.read(path, as_version=4).cells) == 20  # the file itself is as it was


@asynchronous
async def test_whatever_ends_it_is_said_and_what_it_is_by_then_is_kept(root):
    folder = root.parent
    fails = write(folder / "fails.ipynb", "1", "x = 2", "x / 0", "print('never')")
    dies = write(folder / "dies.ipynb", "1", "import os; os.kill(os.getpid(), 9)", "print('never')")
    hangs = write(folder / "hangs.ipynb", "print('begun')", "import time; time.sleep(600)")
    async with serving(root) as server:
        runs = {
            1: program(fails),
            2: program(dies),
            3: program(hangs, cell_timeout_s=1),
            4: program(hangs, timeout=Timeout(duration_s=10)),
        }
        ended = dict(
            zip(runs, await asyncio.gather(*(server.run(a_run(n, p)) for n, p in runs.items())), strict=True)
        )
        messages = {n: (finished.outcome, finished.message) for n, finished in ended.items()}
        assert messages == {
            1: ("failure", "cell 3 of 4 failed: ZeroDivisionError: division by zero"),
            2: ("failure", "the kernel died in cell 2 of 3 (killed by SIGKILL)"),
            3: ("failure", "cell 2 of 2 took longer than 1 s"),
            4: ("failure", messages[4][1]),
        }
        assert messages[4][1] == "stopped by SIGTERM (timeout after 10 s)"
        assert "never" not in server.output(1) + server.output(2)
        assert "x / 0" in server.output(1)
        assert server.programs.ended(1).meta["progress"]["done"] == 2
        assert sorted(path.name for path in folder.iterdir()) == [
            *("dies.ipynb", "fails.ipynb", "hangs.ipynb", "runs"),
        ]  # no socket of a kernel lies about
        for n, name in {1: "fails", 2: "dies", 3: "hangs", 4: "hangs"}.items():
            first = nbformat.reads(kept(server, n, f"{name}.ipynb"), as_version=4).cells[0]
            assert first.outputs or n == 4  # which may be stopped before its kernel is there
            assert f"<title>{name}</title>" in kept(server, n, f"{name}.html")


@asynchronous
async def test_how_far_it_is_is_told_while_it_runs(root):
    path = write(root.parent / "slow.ipynb", "print('a')", "open('go').read()", "print('b')")
    os.mkfifo(root.parent / "go")
    async with serving(root) as server:
        await server.start(a_run(1, program(path)))

        def progress():
            return (server.programs.meta(1) or {}).get("progress", {})

        await until(lambda: progress().get("message", "").startswith("cell 2 of 3: open("))
        assert progress()["done"] == 1
        await asyncio.to_thread((root.parent / "go").write_text, "")
        assert (await server.finished(1)).outcome == "success"


@asynchronous
async def test_what_cannot_begin_says_what_would_help(root):
    folder = root.parent
    broken, foreign = folder / "broken.ipynb", write(folder / "foreign.ipynb", "1", kernel="julia-9")
    broken.write_text("{")
    good = write(folder / "good.ipynb", "1")
    async with serving(root) as server:
        runs = [
            program(folder / "none.ipynb"),
            program(broken),
            program(foreign),
            program(good, python="/usr/bin/python3"),
        ]
        ended = await asyncio.gather(*(server.run(a_run(n, p)) for n, p in enumerate(runs, 1)))
        messages = [finished.message for finished in ended]
    assert messages[0] == f"there is no notebook {folder}/none.ipynb"
    assert messages[1].startswith(f"{broken} is no notebook: ")
    assert "names the kernel 'julia-9', which is not there; there is python3" in messages[2]
    assert messages[3].startswith("/usr/bin/python3 has no nbclient: install ")


@pytest.mark.parametrize("tags", [{}, {1: "parameters"}, {0: "injected-parameters", 1: "parameters"}])
def test_a_cell_with_parameters_stands_where_papermill_has_it(tags):
    cells = [nbformat.v4.new_code_cell(f"cell {n}") for n in range(3)]
    for n, tag in tags.items():
        cells[n].metadata["tags"] = [tag]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook_runner.inject(notebook, {"a": 1})
    sources = [cell.source for cell in notebook.cells]
    left = [f"cell {n}" for n in range(3) if tags.get(n) != "injected-parameters"]
    at = left.index("cell 1") + 1 if 1 in tags else 0
    assert sources == [*left[:at], "# Parameters\na = 1", *left[at:]]
    nbformat.validate(notebook)


def test_a_notebook_of_another_language_takes_no_parameters(capsys):
    notebook = nbformat.v4.new_notebook(metadata={"language_info": {"name": "R"}})
    with pytest.raises(notebook_runner.Failed, match="this one is in R"):
        notebook_runner.inject(notebook, {"a": 1})
    assert json.loads(nbformat.writes(notebook))["cells"] == []
