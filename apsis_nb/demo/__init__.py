"""A server to try: jobs that do small but real work, their data, and made-up past runs."""

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path

from apsis_nb.config import Config, load_config
from apsis_nb.core.errors import ApsisError

#: How many days back the made-up runs go.
_HISTORY_DAYS = 90


def demo_config(folder: Path, bind: str | None = None) -> Config:
    """The settings of the demo in a folder.

    Args:
        folder: of the demo; the server keeps its state there too.
        bind: HOST:PORT; by default that of every server.
    """
    folder = folder.absolute()
    settings = {
        "name": "demo",
        "jobs": str(folder / "jobs"),
        "state_dir": str(folder / "state"),
        "log.file": str(folder / "state" / "server.log"),
        "env.DEMO_DATA": str(folder / "data"),
        # The jobs are Python programs that need DuckDB: that of the environment of apsis_nb itself.
        "env.PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
    }
    return load_config(overrides=settings | ({"bind": bind} if bind else {}))


def prepare(
    folder: Path, *, history: int = 0, reset: bool = False, tell: Callable[[str], None] = lambda line: None
) -> None:
    """Make the demo's folder: jobs, data and, where there is none yet, a history.

    A job file that somebody has changed stays as it is.

    Args:
        folder: made if it is missing.
        history: how many past runs to make up; none where the folder has a history.
        reset: put the demo's own job files back.
        tell: is given a line of text now and then.

    Raises:
        ApsisError: the folder is something else's.
    """
    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("apsis_nb.demo")) as shipped:
        _copy(shipped / "jobs", folder / "jobs", over=reset)
        _copy(shipped / "data", folder / "data", over=True)
    config = demo_config(folder)
    database = config.state_dir / "runs.duckdb"
    if history and not database.exists():
        _make_history(database, history, tell)


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ApsisError(f"{folder} is no folder: give another by --dir")
    if (
        folder.is_dir()
        and any(folder.iterdir())
        and not (folder / "jobs" / "ops" / "heartbeat.yaml").exists()
    ):
        raise ApsisError(f"{folder} holds other files: give an empty folder, or a new one, by --dir")


def _copy(source: Path, target: Path, *, over: bool) -> None:
    """Copy a tree; files that are there stay, unless `over`."""
    for file in sorted(source.rglob("*")):
        if file.is_dir() or file.suffix == ".pyc":
            continue
        copy = target / file.relative_to(source)
        if over or not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _make_history(database: Path, count: int, tell: Callable[[str], None]) -> None:
    from apsis_nb.demo.history import make_history

    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    tell(f"making up {count:,} past runs ...")
    now = datetime.now(UTC)

    def progress(done: int, of: int) -> None:
        if done < of:
            tell(f"{done:,} of {of:,}")

    # Under another name until it is whole, so that a demo that is stopped half-way begins anew.
    half = database.with_name("half.duckdb")
    half.unlink(missing_ok=True)
    try:
        make_history(half, count, until=now, days=_HISTORY_DAYS, progress=progress)
    except RuntimeError as error:
        if "interrupted" in str(error):  # so DuckDB tells of a Ctrl-C
            raise KeyboardInterrupt from None
        raise
    half.replace(database)
    shutil.rmtree(half.with_suffix(".outputs"), ignore_errors=True)  # made-up runs wrote nothing
