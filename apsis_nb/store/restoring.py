"""Puts a backup in the place of a store that no server has open. What was there is kept aside, and can be put
back in the same way."""

import fcntl
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from apsis_nb.store.archive import FOLDER, months_named
from apsis_nb.store.backups import (
    DATABASE,
    OUTPUTS,
    Backup,
    backups_in,
    check_backup,
    copy_month,
    keeping,
    read_backup,
)
from apsis_nb.store.copying import look_into
from apsis_nb.store.errors import StoreError
from apsis_nb.store.files import copy_file, need_room, stamp, sync_file, sync_folder
from apsis_nb.store.opening import SCHEMA_VERSION, mark_of, schema_version
from apsis_nb.store.rows import naive

#: What a store is made of. The database comes first when it goes, and last when it comes.
_PARTS = (DATABASE, f"{DATABASE}.wal", OUTPUTS, FOLDER)
#: What the folders are called that have what was there before a restore.
_ASIDE = "replaced-"
#: The version of the schema since which the database names its archive.
_NAMES_ARCHIVE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A store that a restore has put aside."""

    path: Path  #: its folder
    at: datetime | None  #: aware, UTC: when its server was there last; None: it never had one
    runs: int  #: how many finished runs it has


def checked(folder: Path) -> Backup | Replaced:
    """A backup that can be restored, or a store that was put aside and can be put back.

    Raises:
        StoreError: it is neither, is not whole, or a later release made it.
    """
    path = folder.absolute()
    if path.name.startswith(_ASIDE) and (path / DATABASE).exists():
        return _replaced(path)
    backup = read_backup(folder)
    if backup.schema_version > SCHEMA_VERSION:
        raise StoreError(
            f"{folder} was written by a later release"
            f" (schema {backup.schema_version}, this one knows {SCHEMA_VERSION})"
        )
    check_backup(backup)
    return backup


def _replaced(folder: Path) -> Replaced:
    path = folder / DATABASE
    try:
        with look_into(path) as connection:
            version, _ = schema_version(connection, path)
            ((runs, at),) = connection.execute(keeping()["size_and_age"].text).fetchall()
            if version >= _NAMES_ARCHIVE:
                runs += sum(month.runs for month in months_named(connection))
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}") from None
    return Replaced(path=folder, at=None if at is None else at.replace(tzinfo=UTC), runs=runs)


def restorable(state_dir: Path) -> list[Backup | Replaced]:
    """What can be put in the place of the store of a state folder, the newest first.

    These are the backups in the server's own folder, and the stores that restores have put aside.
    """
    found: list[Backup | Replaced] = [*backups_in(state_dir / "backups")]
    for file in state_dir.glob(f"{_ASIDE}*/{DATABASE}"):
        if not _is_in_place(file.parent, state_dir):
            with suppress(StoreError):  # who names it hears what is wrong with it
                found.append(_replaced(file.parent.absolute()))
    return sorted(found, key=lambda one: one.at or datetime.min.replace(tzinfo=UTC), reverse=True)


def restore(folder: Path, state_dir: Path, now: datetime) -> Path | None:
    """Put a backup in the place of the store of a state folder, or put back what was put aside for one.

    Of a backup comes another store, with an epoch of its own. A run that was about to start gets its run
    directory, empty: so it is taken for lost, as those that ran are, and not started once more. A store that
    is put back is the one that it was: its runs go on as after any pause of its server. If this is cut short
    between the first move and the last, no server starts there until it is done again.

    Args:
        folder: of the backup, or what an earlier restore has put aside in the same state folder.
        state_dir: made if it is not there.
        now: aware.

    Returns:
        The folder that has what was there; None: there was nothing.

    Raises:
        StoreError: it is not whole, or a server has the store; nothing has changed then.
    """
    found, path = checked(folder), state_dir / DATABASE
    if isinstance(found, Replaced):
        _must_be_aside(found.path, state_dir)
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = state_dir / ".restore.part"
    with _held(path) as was_there:
        shutil.rmtree(fresh, ignore_errors=True)
        if mark_of(path).exists():
            aside, had = _aside(path, now)
            if found.path.resolve() == aside.resolve():  # what was cut short is not wanted any more
                _take_back(aside, had, state_dir)
                return None
        fresh.mkdir(mode=0o700)
        if isinstance(found, Replaced):
            _link(found.path, fresh)
        else:
            need_room(state_dir, found.bytes)
            try:
                epoch, starting = _copied(found, fresh, now)
            except duckdb.Error as error:
                raise StoreError(f"{folder} cannot be restored: {error}") from None
            for run_id in starting:
                (state_dir / "runs" / epoch / f"r{run_id}").mkdir(parents=True)
        if path.exists() and not was_there:
            raise StoreError(f"a server has made a store in {state_dir} meanwhile: stop it first")
        aside, had = _aside(path, now)
        for name in _PARTS:
            place, kept = state_dir / name, aside / name
            if name in had and os.path.lexists(place) and not os.path.lexists(kept):
                place.rename(kept)
            else:
                _remove(place)  # of a restore that was cut short
        for name in reversed(_PARTS):
            if os.path.lexists(fresh / name):  # an archive is in few
                (fresh / name).rename(state_dir / name)
        sync_folder(aside)
        sync_folder(state_dir)
        mark_of(path).unlink()
        sync_folder(state_dir)
        if isinstance(found, Replaced):
            shutil.rmtree(found.path)  # all of it is in its place again
    fresh.rmdir()
    if any(aside.iterdir()):
        return aside
    aside.rmdir()
    return None


def _must_be_aside(folder: Path, state_dir: Path) -> None:
    """Refuse what was put aside elsewhere, and what is in its place again.

    Raises:
        StoreError: it is.
    """
    if folder.resolve().parent != state_dir.resolve():
        raise StoreError(f"{folder} was put aside in {folder.parent}: it can only be put back there")
    if _is_in_place(folder, state_dir):
        raise StoreError(f"{folder} is in its place again: what is left of the folder can be removed")


def _is_in_place(folder: Path, state_dir: Path) -> bool:
    """Whether a folder is left of a store that was put back: a crash came before it was removed."""
    path = state_dir / DATABASE
    return path.exists() and path.samefile(folder / DATABASE) and not mark_of(path).exists()


def _take_back(aside: Path, had: Sequence[str], state_dir: Path) -> None:
    """Undo a restore that was cut short. The database comes last: until then it can be done again.

    Args:
        aside: the folder that has what was moved already.
        had: what there was to be moved.
    """
    for name in reversed(_PARTS):
        if os.path.lexists(aside / name):
            _remove(state_dir / name)
            (aside / name).rename(state_dir / name)
        elif name not in had:
            _remove(state_dir / name)
    sync_folder(state_dir)
    mark_of(state_dir / DATABASE).unlink()
    sync_folder(state_dir)
    aside.rmdir()


def _link(folder: Path, fresh: Path) -> None:
    """Give the files that were put aside further names in a folder: so none goes before all are in place."""
    for name in _PARTS:
        source = folder / name
        if source.is_symlink():  # somebody has them on another disk
            (fresh / name).symlink_to(os.readlink(source))
        elif source.is_dir():
            shutil.copytree(source, fresh / name, copy_function=os.link)
        elif source.exists():
            os.link(source, fresh / name)
    for made in (fresh, *fresh.rglob("*")):
        if made.is_dir():
            sync_folder(made)


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


def _aside(path: Path, now: datetime) -> tuple[Path, Sequence[str]]:
    """The folder for what is there, and what that is. A mark names both: from now on it is all or nothing.

    If there is a mark already, of a restore that was cut short, it is as that says.
    """
    mark = mark_of(path)
    if mark.exists():
        told = json.loads(mark.read_text(encoding="utf-8"))
        return path.parent / str(told["aside"]), told.get("had", _PARTS)
    name = f"{_ASIDE}{stamp(now)}"
    names = itertools.chain([name], (f"{name}.{n}" for n in itertools.count(2)))
    aside = next(folder for folder in map(path.with_name, names) if not folder.exists())
    had = [name for name in _PARTS if os.path.lexists(path.with_name(name))]
    aside.mkdir(mode=0o700)
    part = mark.with_suffix(".restoring.part")
    part.write_text(json.dumps({"aside": aside.name, "had": had}), encoding="utf-8")
    sync_file(part)
    part.rename(mark)
    sync_folder(path.parent)
    return aside, had


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
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
