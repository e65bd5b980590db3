"""Runs a task in a run's process: makes an object of a class and runs it, and keeps what it returns.

It is started by its path, by whatever interpreter the job wants: so it needs the standard library alone, and
keeps to what Python 3.8 understands. The task comes as JSON on standard input, which is a file in memory
that the supervisor shares; an error that ends the task is written behind it, for the run's message.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

#: Output that holds what the task returned.
RESULT = "result.json"


def _take_task() -> tuple[dict[str, Any], int, int]:
    """The task, and where to say what ended it: a descriptor and an offset. Standard input is empty then."""
    shared = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    size = os.fstat(shared).st_size
    return json.loads(os.pread(shared, size, 0).split(b"\n", 1)[0].decode()), shared, size


def _class_task(task: dict[str, Any]) -> Any:
    """Make an object of a class and run it."""
    module_name, _, name = task["class"].rpartition(".")
    cls = getattr(importlib.import_module(module_name), name)
    from apsis_nb.program import ThisRun

    return cls(**task["keys"]).run(ThisRun.of(os.environ))


def _keep(result: Any) -> None:
    """Keep what the task returned."""
    if result is not None:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False)
        with open(os.path.join(os.environ["APSIS_OUTPUT_DIR"], RESULT), "w", encoding="utf-8") as file:
            file.write(text)


def _tell(error: Exception, shared: int, size: int) -> None:
    """The traceback, as it would be without this file, for people; what it was for the run's message."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, frames)
    sys.stderr.flush()
    said = f"{type(error).__name__}: {error}".strip().removesuffix(":").splitlines()[0]
    os.pwrite(shared, said.encode("utf-8", "replace"), size)


def _is_ours(file: str) -> bool:
    """Whether a frame at the top of a traceback says nothing of the task: it only led there."""
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


def main() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != folder]  # our modules are none of the task's
    task, shared, size = _take_task()
    sys.path[:0] = task["path"]
    sys.path += task["path_after"]
    try:
        _keep(_class_task(task))
    except Exception as error:  # whatever the task runs into
        _tell(error, shared, size)
        sys.exit(1)


if __name__ == "__main__":
    main()
