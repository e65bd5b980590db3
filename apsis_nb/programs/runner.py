"""Runs a task in a run's process: an object of a class, a function, a query or a notebook.

It is started by its path, by whatever interpreter the job wants: so it needs the standard library alone, and
keeps to what Python 3.8 understands. The task comes as JSON on standard input, which is a file in memory
that the supervisor shares; an error that ends the task is written behind it, for the run's message.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
from typing import Any

#: Output that holds what the task returned, and that of a query.
RESULT, TABLE = "result.json", "result.parquet"
#: So many rows of the answer of a query are printed.
ROWS = 20


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


def _call_task(task: dict[str, Any]) -> Any:
    """Call a function with the args of the run that it takes, and with those that the job names."""
    module_name, colon, name = task["call"].partition(":")
    if not colon:
        module_name, _, name = task["call"].rpartition(".")
    function: Any = importlib.import_module(module_name)
    for part in name.split("."):
        function = getattr(function, part)
    given = {name: value for name, value in _args(task).items() if _takes(function, name)}
    return function(**{**given, **task["args"]})


def _takes(function: Any, name: str) -> bool:
    """Whether a function has an argument of that name, or takes any."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C, without a word on it
        return False
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return True
    return name in parameters and parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY


def _sql_task(task: dict[str, Any]) -> None:
    """Run the statements of a query, keep the answer of the last one, and print how it begins."""
    import duckdb

    args = _args(task)
    connection = duckdb.connect()
    connection.execute("SET temp_directory = $1", [os.environ["TMPDIR"]])
    statements = connection.extract_statements(task["query"])
    for n, statement in enumerate(statements, 1):
        unknown = sorted(statement.named_parameters - args.keys())
        if unknown:
            raise ValueError(f"the query has ${unknown[0]}, which is no param of the job")
        asked = {name: args[name] for name in statement.named_parameters}
        file = os.path.join(os.environ["APSIS_OUTPUT_DIR"], TABLE)
        copy = _copy_of(connection, statement, file) if n == len(statements) else None
        answer = connection.execute(copy or statement, asked or None)
        if copy is not None:
            ((count,),) = answer.fetchall()
            connection.read_parquet(file).limit(ROWS).show(max_rows=ROWS)
            print(f"{count} rows" + (f", the first {ROWS} are shown" if count > ROWS else ""))  # noqa: T201


def _copy_of(connection: Any, statement: Any, file: str) -> str | None:
    """The statement that writes the answer of another to a file, piece by piece; None: that has no answer."""
    import duckdb

    text, place = statement.query, file.replace("'", "''")
    if statement.type != duckdb.StatementType.SELECT:
        return None
    # A semicolon ends it, with nothing but comments behind; some may hold semicolons, too.
    for end in [len(text), *(n for n in reversed(range(len(text))) if text[n] == ";")]:
        copy = f"COPY (\n{text[:end]}\n) TO '{place}' (FORMAT parquet)"
        try:
            if len(connection.extract_statements(copy)) == 1:
                return copy
        except duckdb.ParserException:
            continue
    return None


def _notebook_task(task: dict[str, Any]) -> None:
    """Run a notebook; what does so needs modules that not every interpreter has."""
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "notebook_runner.py")
    spec = importlib.util.spec_from_file_location("apsis_nb_notebook_runner", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.run_notebook(task, _args(task))
    except module.Failed as failed:
        raise Told(str(failed)) from None


def _args(task: dict[str, Any]) -> dict[str, Any]:
    """The args of the run, as values of their types."""
    args = json.loads(os.environ["APSIS_ARGS"])
    return {name: _value(text, task["types"].get(name)) for name, text in args.items()}


def _value(text: str, kind: str | None) -> Any:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        return text == "true"
    if kind == "date":
        return datetime.date.fromisoformat(text)
    if kind == "time":
        return datetime.time.fromisoformat(text)
    if kind == "datetime":
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if kind == "duration":
        units = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
        parts = re.findall(r"([\d.]+)([wdhms])", text)
        length = datetime.timedelta(**{units[unit]: float(count) for count, unit in parts})
        return -length if text.startswith("-") else length
    return text


def _keep(result: Any) -> None:
    """Keep what the task returned."""
    if result is not None:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False)
        with open(os.path.join(os.environ["APSIS_OUTPUT_DIR"], RESULT), "w", encoding="utf-8") as file:
            file.write(text)


class Told(Exception):
    """What went wrong stands in the output; this is for the run's message."""


def _tell(error: Exception, shared: int, size: int) -> None:
    """The traceback, as it would be without this file, for people; what it was for the run's message."""
    if isinstance(error, Told):
        sys.stdout.flush()
        os.pwrite(shared, str(error).encode("utf-8", "replace"), size)
        return
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, frames)
    sys.stderr.flush()
    text = str(error).strip()
    said = f"{type(error).__name__}: {text}".splitlines()[0] if text else type(error).__name__
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
    work = {"class": _class_task, "call": _call_task, "sql": _sql_task, "notebook": _notebook_task}[
        task["kind"]
    ]
    try:
        _keep(work(task))
    except Exception as error:  # whatever the task runs into
        _tell(error, shared, size)
        sys.exit(1)


if __name__ == "__main__":
    main()
