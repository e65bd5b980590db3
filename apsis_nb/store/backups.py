"""Backups of a store that is in use: a folder each, with the database, the archive and the outputs.

A backup is made under a name that begins with a dot, checked, and gets its own name in the end: what is
called like a backup is one, whenever a crash comes. Packs that have not grown are links to those of the last,
and files of the archive, which never change, to those of the store.
"""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from apsis_nb.core.times import format_time, parse_time
from apsis_nb.store.archive import FACTS as MONTH_FACTS
from apsis_nb.store.archive import FOLDER, Archive, Month, months_named, read_month
from apsis_nb.store.archiving import check_month
from apsis_nb.store.copying import check_database, copy_database, look_into
from apsis_nb.store.errors import BackupExists, StoreError
from apsis_nb.store.files import copy_file, move, need_room, size_of, stamp, sync_file, sync_folder
from apsis_nb.store.queries import Query, parse, read_sql

if TYPE_CHECKING:
    from apsis_nb.store.store import Store

log = logging.getLogger("apsis_nb.store")

DATABASE, OUTPUTS, FACTS = "runs.duckdb", "runs.outputs", "backup.json"
FORMAT = 1


@cache
def keeping() -> dict[str, Query]:
    """All blocks of `keeping.sql`."""
    return {query.name: query for query in parse(read_sql("keeping.sql"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A whole backup."""

    path: Path  #: its folder
    at: datetime  #: aware, UTC: when it was begun
    epoch: str  #: of the store that it was made of
    schema_version: int
    rows: Mapping[str, int]  #: of each table
    packs: Mapping[str, int]  #: how far into each pack file the outputs reach, bytes
    archive: Mapping[str, int]  #: the folders of the archive, and how many runs each has
    bytes: int  #: of the database, the packs and the archive, links counted too
    #: What the database names and the store had not, or not whole: `runs.outputs/2026-01-31.pack`.
    missing: Sequence[str] = ()

    @property
    def runs(self) -> int:
        """How many finished runs it has."""
        return self.rows["runs"] + sum(self.archive.values())

    def facts(self) -> dict[str, Any]:
        """What is told of it: path, at, runs, log_rows, bytes, missing, as JSON values."""
        return {
            "path": str(self.path),
            "at": format_time(self.at),
            "runs": self.runs,
            "log_rows": self.rows["run_log"],
            "bytes": self.bytes,
            "missing": list(self.missing),
        }


class Backups:
    """Makes the backups of one store. All methods block, and are safe from any thread.

    Args:
        connection: of the store; each backup is copied with a cursor of its own.
        store: which must give nothing up meanwhile, and move nothing.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: "Store") -> None:
        self._connection, self._store = connection, store
        self._path, self._packs, self._epoch = store.path, store.packs, store.epoch
        self._spool = store.path.parent / "spool"
        self._lock = threading.Lock()  # one at a time
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._cursor_lock = threading.Lock()
        self._closing = threading.Event()
        self._progress: Callable[[], str] | None = None

    def make(self, folder: Path, name: str, now: datetime, keep: int | None = None) -> Backup:
        """Make one. Commits go on meanwhile; it is of one moment.

        Args:
            folder: absolute; gets the backup, and is made if it is not there.
            name: of the server; the backup's name is this and the time.
            now: aware.
            keep: how many of this store, the newest, are kept there; None: all.

        Raises:
            StoreError: it cannot be made; nothing is left that looks like one.
        """
        at = now.astimezone(UTC).replace(microsecond=0)
        target = folder / f"{name}-{stamp(at)}"
        part = folder / f".{target.name}.{self._epoch}.part"
        with self._lock:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                for left in folder.glob(f".*.{self._epoch}.part"):  # by a crash
                    shutil.rmtree(left)
                if target.exists():
                    raise BackupExists(f"there is a backup {target} already: one was made in the same second")
                part.mkdir(mode=0o700)
                with self._store.retention.held(), self._store.archiver.held():
                    backup = self._fill(part, at)
                backup = _renamed(backup, target)
                if keep is not None:
                    self._remove_old(folder, keep)
                return backup
            except (OSError, duckdb.Error) as error:
                raise StoreError(f"no backup was made: {error}") from error
            finally:
                self._progress = None
                shutil.rmtree(part, ignore_errors=True)

    @property
    def progress(self) -> str | None:
        """How far the backup is that is under way, in words; None: none is."""
        told = self._progress
        return None if told is None else told()

    def interrupt(self) -> None:
        """Have the one that is under way end soon, and make no more."""
        self._closing.set()
        with self._cursor_lock:
            if self._cursor is not None:
                self._cursor.interrupt()

    def close(self) -> None:
        """Wait until the one that was interrupted has ended; nothing is left of it."""
        with self._lock:
            pass

    def _fill(self, part: Path, at: datetime) -> Backup:
        """Copy all into the folder, and check it."""
        before = [b for b in backups_in(part.parent) if b.epoch == self._epoch]
        database = part / DATABASE
        rows = self._copy_database(database)
        missing: list[str] = []
        with look_into(database) as copy:
            months = self._keep_archive(part / FOLDER, months_named(copy), missing)
            archive = Archive(part / FOLDER, months)
            packs = dict(
                copy.execute(*archive.put_in(keeping()["packs_needed"].text, {}, archive.months)).fetchall()
            )
            ((epoch, version),) = copy.execute(keeping()["epoch"].text).fetchall()
        packs = self._copy_packs(part / OUTPUTS, packs, before[0] if before else None, missing)
        self._progress = lambda: "checking it"
        check_database(database, rows)
        backup = Backup(
            path=part,
            at=at,
            epoch=epoch,
            schema_version=version,
            rows=rows,
            packs=packs,
            archive={month.folder: month.runs for month in months},
            bytes=size_of(database) + sum(packs.values()) + sum(month.bytes for month in months),
            missing=missing,
        )
        (part / FACTS).touch(mode=0o600)
        (part / FACTS).write_text(_facts_text(backup), encoding="utf-8")
        sync_file(part / FACTS)
        sync_folder(part)
        return backup

    def _copy_database(self, to: Path) -> dict[str, int]:
        """By way of the spool, as the database reaches no other folder."""
        self._spool.mkdir(exist_ok=True, mode=0o700)
        spooled, size_b = self._spool / f"backup-{self._epoch}.duckdb", size_of(self._path)
        need_room(self._spool, size_b)
        need_room(to.parent, size_b)
        self._progress = lambda: f"database: {size_of(spooled) >> 20} of at most {size_b >> 20} MiB"
        with self._cursor_lock:
            if self._closing.is_set():
                raise StoreError("the store is being closed")
            self._cursor = self._connection.cursor()
        try:
            rows = copy_database(self._cursor, spooled)
            move(spooled, to)
            return rows
        finally:
            with self._cursor_lock:
                self._cursor.close()
                self._cursor = None
            spooled.unlink(missing_ok=True)

    def _keep_archive(self, folder: Path, months: Iterable[Month], missing: list[str]) -> list[Month]:
        """Link the files of the archive, or copy them where that cannot be.

        Args:
            missing: gets the months that are not there or not whole. The rest is kept nevertheless.

        Returns:
            The others.
        """
        self._progress = lambda: "archive"
        kept = []
        for month in months:
            source, to = self._store.archive.root / month.folder, folder / month.folder
            try:
                check_month(source)
            except StoreError as error:
                log.warning("a backup goes without a month of the archive: %s", error)
                missing.append(f"{FOLDER}/{month.folder}")
                continue
            to.mkdir(parents=True, mode=0o700)
            copy_month(source, to, may_link=True)
            sync_folder(folder)
            kept.append(month)
        return kept

    def _copy_packs(
        self, folder: Path, packs: Mapping[str, int], last: Backup | None, missing: list[str]
    ) -> dict[str, int]:
        """Copy what is needed of the packs; those that the last backup has, as far as needed, are linked.

        Args:
            missing: gets the packs that are not there or not long enough. Of these is kept what there is.

        Returns:
            How long those are that were kept.
        """
        folder.mkdir(mode=0o700)
        linked = {name: length for name, length in packs.items() if _linked(name, length, last, folder)}
        to_copy = {}
        for name in packs.keys() - linked.keys():
            there_b = size_of(self._packs / name)
            if there_b < packs[name]:
                log.warning(
                    "a backup goes without outputs: %s has %d bytes, not %d", name, there_b, packs[name]
                )
                missing.append(f"{OUTPUTS}/{name}")
            if there_b:
                to_copy[name] = min(there_b, packs[name])
        missing.sort()
        need_room(folder, sum(to_copy.values()))
        total, done = sum(to_copy.values()), 0

        def told(size_b: int) -> None:
            nonlocal done
            done += size_b
            if self._closing.is_set():
                raise StoreError("the store is being closed")

        self._progress = lambda: f"outputs: {done >> 20} of {total >> 20} MiB"
        for name, length in to_copy.items():
            copy_file(self._packs / name, folder / name, length, told=told)
        sync_folder(folder)
        return linked | to_copy

    def _remove_old(self, folder: Path, keep: int) -> None:
        """Remove all of this store but the newest; each loses its name first."""
        own = [backup for backup in backups_in(folder) if backup.epoch == self._epoch]
        for backup in own[max(1, keep) :]:
            gone = folder / f".{backup.path.name}.{self._epoch}.part"
            backup.path.rename(gone)
            shutil.rmtree(gone)


def _renamed(backup: Backup, target: Path) -> Backup:
    """Give a whole backup its name."""
    backup.path.rename(target)
    sync_folder(target.parent)
    return read_backup(target)


def _linked(name: str, length: int, last: Backup | None, folder: Path) -> bool:
    """Link a pack to that of the last backup, if that reaches far enough."""
    if last is None or last.packs.get(name, 0) < length:
        return False
    with suppress(OSError):  # another disk, or one that has no links
        os.link(last.path / OUTPUTS / name, folder / name)
        return True
    return False


def copy_month(source: Path, to: Path, *, may_link: bool) -> None:
    """Copy the files of a month of an archive into an empty folder.

    Args:
        may_link: whether they may be the same files under further names.

    Raises:
        StoreError: it is no month, or there is no room.
        OSError: a file cannot be read or written.
    """
    names = [*read_month(source).files, MONTH_FACTS]
    for name in names:
        if may_link:
            with suppress(OSError):  # another disk, or one that has no links
                os.link(source / name, to / name)
                continue
        need_room(to, size_of(source / name))
        copy_file(source / name, to / name)
    sync_folder(to)


def _facts_text(backup: Backup) -> str:
    facts = {
        "format": FORMAT,
        "at": format_time(backup.at),
        "epoch": backup.epoch,
        "schema_version": backup.schema_version,
        "rows": backup.rows,
        "packs": backup.packs,
        "archive": backup.archive,
        "bytes": backup.bytes,
        "missing": list(backup.missing),
    }
    return json.dumps(facts, indent=1) + "\n"


def read_backup(folder: Path) -> Backup:
    """What a backup says of itself.

    Raises:
        StoreError: it is none, or of a later release.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts["format"] > FORMAT:
            raise StoreError(f"{folder} was written by a later release")
        return Backup(
            path=folder,
            at=parse_time(facts["at"]),
            epoch=facts["epoch"],
            schema_version=facts["schema_version"],
            rows=facts["rows"],
            packs=facts["packs"],
            archive=facts.get("archive", {}),  # backups of earlier releases have none
            bytes=facts["bytes"],
            missing=facts.get("missing", []),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(f"{folder} is no backup: it has no {FACTS} that can be read") from None


def check_backup(backup: Backup) -> None:
    """Open it, count, and measure.

    Raises:
        StoreError: it is not as it was made.
    """
    check_database(backup.path / DATABASE, backup.rows)
    for name, length in backup.packs.items():
        size = size_of(backup.path / OUTPUTS / name)
        if size < length:
            raise StoreError(f"{backup.path} is not whole: {name} has {size} bytes, not {length}")
    for folder in backup.archive:
        check_month(backup.path / FOLDER / folder)


def backups_in(folder: Path) -> list[Backup]:
    """The backups in a folder, the newest first."""
    return sorted(_readable(folder.glob("[!.]*/" + FACTS)), key=lambda backup: backup.at, reverse=True)


def _readable(files: Iterable[Path]) -> Iterable[Backup]:
    for file in files:
        with suppress(StoreError):  # some other thing, which has nothing to do with us
            yield read_backup(file.parent)
