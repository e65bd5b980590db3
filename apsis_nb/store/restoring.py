"""Puts a backup in the place of a store that no server has open. What was there is kept aside."""

import fcntl
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from apsis_nb.store.archive import FOLDER
from apsis_nb.store.backups import (
    DATABASE,
    OUTPUTS,
    Backup,
    check_backup,
    copy_month,
    keeping,
    read_backup,
)
from apsis_nb.store.errors import StoreError
from apsis_nb.store.files import copy_file, need_room, stamp, sync_file, sync_folder, wal_of
from apsis_nb.store.opening import SCHEMA_VERSION, mark_of
from apsis_nb.store.rows import naive


def checked(folder: Path) -> Backup:
    """A backup that can be restored.

    Raises:
        StoreError: it is none, is not whole, or a later release made it.
    """
    backup = read_backup(folder)
    if backup.schema_version > SCHEMA_VERSION:
        raise StoreError(
            f"{folder} was written by a later release"
            f" (schema {backup.schema_version}, this one knows {SCHEMA_VERSION})"
        )
    check_backup(backup)
    return backup


def restore(folder: Path, state_dir: Path, now: datetime) -> Path | None:
    """Put a backup in the place of the store of a state folder.

    The store that comes of it is another one, with an epoch of its own. A run that was about to start gets
    its run directory, empty: so it is taken for lost, as those that ran are, and not started once more. If
    this is cut short between the first move and the last, no server starts there until it is done again.

    Args:
        folder: of the backup.
        state_dir: made if it is not there.
        now: aware.

    Returns:
        The folder that has what was there; None: there was nothing.

    Raises:
        StoreError: the backup is not whole, or a server has the store; nothing has changed then.
    """
    backup, path = checked(folder), state_dir / DATABASE
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = state_dir / ".restore.part"
    with _held(path) as was_there:
        shutil.rmtree(fresh, ignore_errors=True)
        need_room(state_dir, backup.bytes)
        fresh.mkdir(mode=0o700)
        try:
            epoch, starting = _copied(backup, fresh, now)
        except duckdb.Error as error:
            raise StoreError(f"{folder} cannot be restored: {error}") from None
        for run_id in starting:
            (state_dir / "runs" / epoch / f"r{run_id}").mkdir(parents=True)
        if path.exists() and not was_there:
            raise StoreError(f"a server has made a store in {state_dir} meanwhile: stop it first")
        aside = _aside(path, now)
        for place in (path, wal_of(path), state_dir / OUTPUTS, state_dir / FOLDER):
            kept = aside / place.name
            if kept.exists():
                _remove(place)  # of a restore that was cut short
            elif place.exists():
                place.rename(kept)
        for name in (OUTPUTS, FOLDER, DATABASE):
            if (fresh / name).exists():  # an archive is in few
                (fresh / name).rename(state_dir / name)
        sync_folder(aside)
        sync_folder(state_dir)
        mark_of(path).unlink()
        sync_folder(state_dir)
    fresh.rmdir()
    if any(aside.iterdir()):
        return aside
    aside.rmdir()
    return None


def _copied(backup: Backup, fresh: Path, now: datetime) -> tuple[str, list[int]]:
    """Copy the backup into a folder, as another store; gives its epoch, and the runs that were to start."""
    copy_file(backup.path / DATABASE, fresh / DATABASE)
    (fresh / OUTPUTS).mkdir(mode=0o700)
    for name, length in backup.packs.items():
        copy_file(backup.path / OUTPUTS / name, fresh / OUTPUTS / name, length)
    sync_folder(fresh / OUTPUTS)
    for folder in backup.archive:
        (fresh / FOLDER / folder).mkdir(parents=True, mode=0o700)
        copy_month(backup.path / FOLDER / folder, fresh / FOLDER / folder, may_link=False)
        sync_folder(fresh / FOLDER)
    epoch = secrets.token_hex(6)
    with duckdb.connect(str(fresh / DATABASE)) as connection:
        params = {"epoch": epoch, "now": naive(now)}
        connection.execute(keeping()["new_epoch"].text, params).fetchall()
        starting = [run_id for (run_id,) in connection.execute(keeping()["starting"].text).fetchall()]
        connection.execute("CHECKPOINT")
    sync_file(fresh / DATABASE)
    sync_folder(fresh)
    return epoch, starting


def _aside(path: Path, now: datetime) -> Path:
    """The folder for what is there, and the mark that names it: from now on it is all or nothing."""
    mark = mark_of(path)
    if mark.exists():
        return path.parent / str(json.loads(mark.read_text(encoding="utf-8"))["aside"])
    name = f"replaced-{stamp(now)}"
    names = itertools.chain([name], (f"{name}.{n}" for n in itertools.count(2)))
    aside = next(folder for folder in map(path.with_name, names) if not folder.exists())
    aside.mkdir(mode=0o700)
    part = mark.with_suffix(".restoring.part")
    part.write_text(json.dumps({"aside": aside.name}), encoding="utf-8")
    sync_file(part)
    part.rename(mark)
    sync_folder(path.parent)
    return aside


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold a database as DuckDB does, also one that it could not open; gives whether there is one.

    Raises:
        StoreError: some process has it.
    """
    if not path.exists():
        yield False
        return
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"{path} is in use: stop its server first") from None
        yield True
    finally:
        os.close(fd)
