"""How soon a kernel answers while its widgets follow 50 runs a second, and completes 5,000 ids of jobs.

A real server, a real kernel, and what a front end asks of it, over the same sockets.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figure, percentile, processor_ms, show
from tests.engine.serving import Server

RUNS_PER_S, JOBS, CELLS, COMPLETIONS = 50, 5000, 50, 15
CELL_MS, COMPLETION_MS = 100, 50
#: IPython gives no more.
MOST_COMPLETED = 500
#: Between two cells: they meet the widgets in every phase of their work.
PAUSE_S = 0.13
_PATIENCE_S = 60

NO_OP = "schedule: {{type: interval, interval: 1, phase: {phase:.3f}}}\nprogram: {{type: no-op}}\n"
#: A program that prints fifty lines a second.
CHATTY = "program: {type: shell, command: 'while sleep 0.02; do echo \"it is $(date +%N)\"; done'}\n"
WIDGETS = """
import apsis_nb as ap
client = ap.connect()
run = client.schedule("chatty")
w = ap.widgets
shown = [w.LiveRuns(client, rows=30), w.RunCard(client, run), w.LogTail(client, run)]
for widget in shown:
    display(widget)
"""


def measure() -> Iterator[Figure]:
    """What a cell takes before there are widgets, and with them; then completion."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder) / "jobs"
        jobs.mkdir()
        (jobs / "chatty.yaml").write_text(CHATTY)
        for n in range(RUNS_PER_S):
            (jobs / f"noop{n}.yaml").write_text(NO_OP.format(phase=n / RUNS_PER_S))
        for n in range(JOBS - RUNS_PER_S - 1):
            (jobs / f"other{n}.yaml").write_text("program: {type: no-op}\n")
        server = Server(jobs, Path(folder) / "state").start()
        with _kernel(server) as (kernel, pid):
            alone = _cells(kernel)
            yield Figure("a cell, no widgets: p50", percentile(alone, 0.5), "ms")
            yield Figure("a cell, no widgets: p99", percentile(alone, 0.99), "ms")
            _run(kernel, WIDGETS)
            before = server.get("/api/v1/alive").json()["store"]["commits"]
            began = time.perf_counter()
            busy = _cells(kernel)
            commits = server.get("/api/v1/alive").json()["store"]["commits"] - before
            yield Figure("commits meanwhile", commits / (time.perf_counter() - began), "/s")
            yield Figure("a cell, three widgets follow: p50", percentile(busy, 0.5), "ms", CELL_MS)
            yield Figure("a cell, three widgets follow: p99", percentile(busy, 0.99), "ms", CELL_MS)
            _run(kernel, "for widget in shown: widget.close()\n_ = run.stop()")
            _completed(kernel)  # the first one loads what completes
            before_ms = processor_ms(pid)
            completed = [_completed(kernel) for _ in range(COMPLETIONS)]
            cost_ms = (processor_ms(pid) - before_ms) / COMPLETIONS
            what = f"completion among {JOBS:,} ids: p50"
            yield Figure(what, percentile(completed, 0.5), "ms", COMPLETION_MS, cost_ms)
        server.stop()


@contextlib.contextmanager
def _kernel(server: Server) -> Iterator[tuple[BlockingKernelClient, int]]:
    """A kernel that finds the server, and its process."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(
        env=os.environ | {"APSIS_NB_URL": server.url, "APSIS_NB_TOKEN": server.token, "XDG_RUNTIME_DIR": ""}
    )
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=_PATIENCE_S)
        _run(client, "import apsis_nb")
        yield client, manager.provisioner.pid
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run(kernel: BlockingKernelClient, code: str) -> None:
    """Run a cell, and see that it does."""
    reply: dict[str, Any] = kernel.execute(code, reply=True, timeout=_PATIENCE_S)
    assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", ()))


def _cells(kernel: BlockingKernelClient) -> list[float]:
    """How long a cell takes, from the key to its answer, milliseconds."""
    times = []
    for _ in range(CELLS):
        began = time.perf_counter()
        _run(kernel, "1+1")
        times.append(1000 * (time.perf_counter() - began))
        time.sleep(PAUSE_S)
    return times


def _completed(kernel: BlockingKernelClient) -> float:
    """How long it takes to complete the id of a job, milliseconds."""
    code = 'client.jobs["'
    began = time.perf_counter()
    reply: dict[str, Any] = kernel.complete(code, len(code), reply=True, timeout=_PATIENCE_S)
    took_ms = 1000 * (time.perf_counter() - began)
    found = len(reply["content"]["matches"])
    assert found == MOST_COMPLETED, f"{found} ids are completed"
    return took_ms


def report() -> None:
    """Measure, and print what was seen."""
    print(f"A kernel with widgets that follow {RUNS_PER_S} runs/s")
    show(measure())


if __name__ == "__main__":
    report()
