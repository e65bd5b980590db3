"""Runs a notebook in a run's process: cell by cell, and keeps it as it then is, and as a page.

It is loaded by `runner`, in whatever interpreter the job wants; that needs nbclient, and nbconvert for the
page. What cells print goes to the output as it comes. How far it is stands in the run's meta file after every
cell, and so does the notebook in the output folder: whatever ends the process, both are there.

Parameters follow the convention of papermill (https://papermill.readthedocs.io/en/latest/usage-parameterize.html):
a cell with the tag `injected-parameters` comes after the one with the tag `parameters`, or before all others.
"""

from __future__ import annotations

import asyncio
import copy
import datetime
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from typing import Any

PARAMETERS, INJECTED = "parameters", "injected-parameters"
#: No system takes a longer path of a socket; those of kernels are so much longer than their folder's.
_LONGEST_SOCKET, _SOCKET_NAME = 100, 60
#: How long a kernel may take to start, seconds: the first import on a cold disk is slow.
_STARTUP_S = 120
#: Characters of a cell's first line that are printed.
_HEAD = 70


class Failed(Exception):
    """The notebook did not come to its end; what it is stands in the output, but for this sentence."""


def run_notebook(task: dict[str, Any], args: dict[str, Any]) -> None:
    """Run a notebook with the args of the run, and keep what became of it.

    Args:
        task: `file`, its path · `parameters`, that win over the args · `kernel`, a name or None ·
            `cell_timeout_s`, seconds or None.
        args: of the run, as values.

    Raises:
        Failed: it could not be read or started, a cell failed or took too long, or the kernel died.
    """
    try:
        nbclient, nbformat = _module("nbclient"), _module("nbformat")
    except ImportError as error:
        raise _missing(error) from None
    file = task["file"]
    try:
        notebook = nbformat.read(file, as_version=4)
    except FileNotFoundError:
        raise _said(f"there is no notebook {file}") from None
    except OSError as error:
        raise _said(f"{file} cannot be read: {error.strerror}") from None
    except Exception as error:  # of several libraries
        raise _said(f"{file} is no notebook: {_first_line(error)}") from None
    kernel = _kernel_of(notebook, task["kernel"])
    inject(notebook, {**args, **task["parameters"]})
    kept = _Kept(notebook, os.path.splitext(os.path.basename(file))[0])
    try:
        asyncio.run(_execute(nbclient, kept, kernel, task["cell_timeout_s"]))
    finally:
        kept.save()
        kept.save_page()


def _module(name: str) -> Any:
    """A module of the environment that runs the notebook; what types it has is not known here.

    Raises:
        ImportError: it is not there.
    """
    return importlib.import_module(name)


def _missing(error: ImportError) -> Failed:
    return _said(
        f"{sys.executable} has no {error.name}: install what a notebook needs there, "
        "`pip install nbclient ipykernel nbconvert`, or name another environment by `python`"
    )


def _said(text: str) -> Failed:
    _print(text)
    return Failed(text)


def _print(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# ---- Before it runs ----


def _kernel_of(notebook: Any, wanted: str | None) -> str:
    """The kernel that runs it.

    Raises:
        Failed: there is none of that name here.
    """
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    name = wanted or notebook.metadata.get("kernelspec", {}).get("name") or "python3"
    specs = KernelSpecManager()
    try:
        specs.get_kernel_spec(name)
    except NoSuchKernel:
        there = ", ".join(sorted(specs.find_kernel_specs())) or "none: install ipykernel"
        whose = "the job" if wanted else "the notebook"
        raise _said(
            f"{whose} names the kernel '{name}', which is not there; there is {there}. "
            "`kernel: python3` takes that of the environment which runs the notebook"
        ) from None
    return str(name)


def inject(notebook: Any, values: dict[str, Any]) -> None:
    """Put a cell with the values of the parameters into a notebook, in place of an earlier one.

    Raises:
        Failed: the notebook is not in Python.
    """
    cells = notebook.cells
    cells[:] = [cell for cell in cells if INJECTED not in _tags(cell)]
    if not values:
        return
    language = notebook.metadata.get("kernelspec", {}).get("language") or notebook.metadata.get(
        "language_info", {}
    ).get("name", "python")
    if language.lower() not in ("python", "ipython"):
        raise _said(f"parameters can be given to notebooks in Python, and this one is in {language}")
    source = "# Parameters\n" + "\n".join(f"{name} = {_literal(value)}" for name, value in values.items())
    cell = _module("nbformat").v4.new_code_cell(source, metadata={"tags": [INJECTED]})
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        cell.pop("id", None)  # older forms have none
    after = next((n for n, each in enumerate(cells, 1) if PARAMETERS in _tags(each)), 0)
    cells.insert(after, cell)


def _tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _literal(value: Any) -> str:
    """Python code for a value; that of a time needs no import to stand before it."""
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return f"__import__({'datetime'!r}).{repr(value).partition('.')[2]}"
    return repr(value)


# ---- While it runs ----


async def _execute(nbclient: Any, kept: _Kept, kernel: str, cell_timeout_s: float | None) -> None:
    """Run the cells in turn.

    Raises:
        Failed: one failed or took too long, or the kernel could not start or died.
    """
    from jupyter_client.manager import AsyncKernelManager

    class Client(nbclient.NotebookClient):  # type: ignore[misc]  # it is not there for every reader
        def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
            made = super().output(outs, msg, display_id, cell_index)
            if made is not None:
                kept.echo(made)
            return made

    def begins(cell: Any, cell_index: int) -> None:
        # Once it has died, its manager forgets it.
        processes.append(getattr(client.km.provisioner, "process", None))
        kept.begins(cell)

    processes: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="apsis-nb-", dir=_socket_folder()) as sockets:
        os.environ["JUPYTER_RUNTIME_DIR"] = sockets
        client = Client(
            kept.notebook,
            # Else its sockets would lie in the notebook's folder, and several kernels there would share them.
            km=AsyncKernelManager(kernel_name=kernel, transport="ipc", ip=os.path.join(sockets, "kernel")),
            kernel_name=kernel,
            timeout=cell_timeout_s,
            startup_timeout=_STARTUP_S,
            shutdown_kernel="immediate",
            on_cell_execute=begins,
            on_cell_executed=kept.ended,
        )
        client.owns_km = True  # made here, but its to shut down
        running = asyncio.ensure_future(client.async_execute(cwd=os.getcwd()))
        try:
            await _until_told_to_stop(running)
        except nbclient.exceptions.CellTimeoutError:
            raise _said(f"{kept.at} took longer than {cell_timeout_s:g} s") from None
        except nbclient.exceptions.DeadKernelError:
            raise _said(f"the kernel died in {kept.at}{_how_it_died(processes[-1])}") from None
        except nbclient.exceptions.CellExecutionError as error:
            # Its traceback has been printed as the output of the cell.
            raise Failed(f"{kept.at} failed: {error.ename}: {_first_line_of(error.evalue)}") from None
        except RuntimeError as error:
            raise _said(f"the kernel '{kernel}' did not start: {_first_line(error)}") from None


async def _until_told_to_stop(running: asyncio.Future[Any]) -> None:
    """Wait for the end of the notebook; a signal cancels it, and what it is by then is kept.

    Raises:
        Failed: it was stopped.
    """
    loop, told = asyncio.get_running_loop(), []

    def stop(number: int) -> None:
        told.append(number)
        running.cancel()

    async def obey() -> None:
        # nbclient sets handlers of its own when its kernel starts; ours are to be the last ones.
        while not running.done():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop, number)
            await asyncio.sleep(0.5)

    obeying = asyncio.ensure_future(obey())
    try:
        await running
    except BaseException:  # nbclient makes that of a dead kernel of a cancelled cell
        if not told:
            raise
        raise _said(f"stopped by {signal.Signals(told[0]).name}") from None
    finally:
        obeying.cancel()


def _socket_folder() -> str | None:
    """Where the sockets of a kernel may lie; None: where temporary files do."""
    folder = tempfile.gettempdir()
    return None if len(folder) + _SOCKET_NAME < _LONGEST_SOCKET else "/tmp"


def _how_it_died(process: Any) -> str:
    """By which signal a kernel ended, if that is known."""
    code = None if process is None else process.poll()
    return f" (killed by {signal.Signals(-code).name})" if code is not None and code < 0 else ""


def _first_line_of(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


class _Kept:
    """A notebook that runs: says how far it is, and keeps it."""

    def __init__(self, notebook: Any, name: str) -> None:
        self.notebook = notebook
        self._file = os.path.join(os.environ["APSIS_OUTPUT_DIR"], name)
        self._numbers = [n for n, cell in enumerate(notebook.cells) if _runs(cell)]
        self._done = 0
        self._began = 0.0
        self._times: list[float] = []
        self._ends_line = True
        self._progress("starting the kernel")

    @property
    def at(self) -> str:
        """The cell that runs, in words."""
        return f"cell {min(self._done + 1, len(self._numbers))} of {len(self._numbers)}"

    def begins(self, cell: Any) -> None:
        self._began = time.monotonic()
        head = _first_line_of(cell.source)[:_HEAD]
        self._line_start()
        _print(f"\x1b[1m[{self._done + 1}/{len(self._numbers)}]\x1b[0m \x1b[2m{head}\x1b[0m")
        self._progress(f"{self.at}: {head}")

    def ended(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        self._times.append(round(time.monotonic() - self._began, 3))
        # Of a cell that failed nbclient tells this, too, before it raises.
        if execute_reply["content"].get("status") != "error" or _may_fail(cell):
            self._done += 1
        self._progress(self.at if self._done < len(self._numbers) else "done")
        self.save()

    def echo(self, output: Any) -> None:
        """Print what a cell gave."""
        kind = output["output_type"]
        if kind == "stream":
            _print(output["text"], end="")
            self._ends_line = output["text"].endswith("\n")
            return
        self._line_start()
        if kind == "error":
            _print("\n".join(output["traceback"]))
        else:
            text = output["data"].get("text/plain")
            kinds = [name for name in output["data"] if name != "text/plain"]
            _print(text if text else f"<{', '.join(kinds)}>")

    def _line_start(self) -> None:
        if not self._ends_line:
            _print("")
        self._ends_line = True

    def _progress(self, message: str) -> None:
        said = {
            "progress": {"done": self._done, "total": len(self._numbers), "message": message},
            "cells_s": self._times[-1000:],
        }
        _replace(os.environ["APSIS_META_FILE"], json.dumps(said))

    def save(self) -> None:
        """Keep the notebook as it is."""
        _replace(f"{self._file}.ipynb", _module("nbformat").writes(self.notebook))

    def save_page(self) -> None:
        """Keep it as a page of HTML that needs nothing but itself."""
        try:
            exporter = _module("nbconvert").HTMLExporter(template_name="basic")
        except ImportError:
            _print(f"{sys.executable} has no nbconvert: the notebook is not kept as a page")
            return
        notebook = copy.deepcopy(self.notebook)
        # With it, a page would ask another host for what draws widgets; without, they are as they were last.
        notebook.metadata.pop("widgets", None)
        body, _ = exporter.from_notebook_node(notebook)
        _replace(f"{self._file}.html", page(os.path.basename(self._file), body))


def _runs(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _may_fail(cell: Any) -> bool:
    return "raises-exception" in _tags(cell)


def _replace(path: str, text: str) -> None:
    """Write a file at once: whoever reads meanwhile has the old one or the new one."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #d9dde4; --back: #f6f7f9; --dim: #667; --bad: #fdeeee }}
@media (prefers-color-scheme: dark) {{
  :root {{ --line: #343942; --back: #1a1d23; --dim: #99a; --bad: #3a1d1d }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 24px auto; max-width: 1000px; padding: 0 20px }}
pre, code {{ font: 13px/1.45 ui-monospace, monospace }}
pre {{ margin: 0; white-space: pre-wrap; overflow-wrap: anywhere }}
.input {{ border: 1px solid var(--line); border-radius: 6px; background: var(--back); margin-top: 14px }}
.input pre, .output pre {{ padding: 8px 12px }}
.prompt {{ color: var(--dim); font: 11px ui-monospace, monospace; padding: 4px 12px 0 }}
.prompt:empty {{ display: none }}
.output_error, .output_stderr {{ background: var(--bad); border-radius: 6px }}
.output {{ overflow-x: auto }}
img, svg {{ max-width: 100% }}
table {{ border-collapse: collapse; font-size: 13px; margin: 8px 12px }}
th, td {{ border-bottom: 1px solid var(--line); padding: 4px 10px; text-align: right }}
.anchor-link {{ display: none }}
{code}
</style></head><body>{body}</body></html>
"""


def page(title: str, body: str) -> str:
    """A page around what nbconvert's `basic` template makes: no style or script of another host."""
    import html

    formatter = _module("pygments.formatters").HtmlFormatter
    light = formatter(style="default", nobackground=True).get_style_defs(".highlight")
    dark = formatter(style="github-dark", nobackground=True).get_style_defs(".highlight")
    code = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    return _PAGE.format(title=html.escape(title), code=code, body=body)
