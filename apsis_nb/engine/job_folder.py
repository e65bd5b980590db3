"""The job folder of a server: read, watched, written, and every text of its files kept."""

import asyncio
import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from watchfiles import awatch

from apsis_nb.config import Config
from apsis_nb.core.conditions import CustomCondition
from apsis_nb.core.errors import ApsisError, NotFound, Refused
from apsis_nb.core.jobs import Job
from apsis_nb.core.programs import ClassKeys, Custom, Process
from apsis_nb.jobfiles import (
    CannotEdit,
    FileError,
    Folder,
    JobFile,
    YamlErrors,
    check_folder,
    edit_yaml,
    import_functions,
    load_folder,
    load_text,
)
from apsis_nb.store import Store, StoreError

from .clock import utc_now

log = logging.getLogger("apsis_nb.jobs")

#: Folders of other machines may tell nothing of a change, so it is looked for this often, too.
LOOK_EVERY_S = 60
#: Control characters, ends of lines, and what makes a name look like another one, as it has no width or
#: turns text. No id of a file that is edited has them. What joins emoji may be there.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class EditRefused(Refused):
    """A job file is not written: it has changed since it was read, or what is to be written is wrong."""

    def __init__(self, message: str, errors: tuple[FileError, ...] = (), *, is_stale: bool = False) -> None:
        super().__init__(message)
        self.errors, self.is_stale = errors, is_stale


class Changes:
    """What a reload found: ids of jobs that are new, gone or other now, and of those that broke."""

    def __init__(self, old: Folder, new: Folder) -> None:
        before, after = old.jobs, new.jobs
        self.added = sorted(after.keys() - before.keys())
        self.removed = sorted(before.keys() - after.keys())
        self.changed = sorted(j for j in before.keys() & after.keys() if before[j] != after[j])
        # A working job of which there is a file, but no job any more.
        self.lost = [job_id for job_id in self.removed if job_id in new.files or new.settings.is_broken]
        self.broken = sorted(
            job_id
            for job_id, file in new.files.items()
            if file.errors and file.errors != (old.files[job_id].errors if job_id in old.files else ())
        )

    def by_kind(self) -> dict[str, list[str]]:
        return {"added": self.added, "removed": self.removed, "changed": self.changed}


class JobFolder:
    """The jobs of a server, and the files that they come from.

    Args:
        config: of the server.
        store: keeps the texts.
        taken_up: called, on the loop's thread, with the folder and what has changed when a reload is applied.
    """

    def __init__(self, config: Config, store: Store, taken_up: Callable[[Folder, Changes], None]) -> None:
        self.root = config.jobs
        self.folder = Folder()
        self._store, self._taken_up = store, taken_up
        functions = import_functions(config.template_functions, config.jobs)
        self._names = config.names
        self._load = partial(
            load_folder,
            config.jobs,
            functions=functions,
            hosts=config.hosts,
            late_start_s=config.late.start,
        )
        self._lock = asyncio.Lock()

    async def open(self) -> Folder:
        """Read the folder for the first time.

        Raises:
            ApsisError: its settings are broken, so that no job of it can be trusted.
        """
        folder = await asyncio.to_thread(self._load)
        if folder.settings.is_broken:
            raise ApsisError("\n".join(str(error) for error in folder.settings.errors))
        self.folder = folder
        await self._keep_versions(by=None)
        return folder

    async def reload(
        self, *, dry_run: bool = False, force: bool = False, keep: bool = False, by: str | None = None
    ) -> tuple[Folder, Changes, bool]:
        """Read the folder again.

        Args:
            dry_run: only look what would change.
            force: also if working jobs are lost; but never with broken settings.
            keep: a job whose file is broken now stays as it was, and all other changes are applied.
            by: who asked for it, or wrote a file.

        Returns:
            The folder as it was found, what is other there, and whether it was applied.
        """
        async with self._lock:
            return await self._reload(dry_run=dry_run, force=force, keep=keep, by=by)

    async def _reload(
        self, *, dry_run: bool, force: bool, keep: bool, by: str | None
    ) -> tuple[Folder, Changes, bool]:
        previous = None if force else self.folder
        folder = await asyncio.to_thread(self._load, previous)
        if keep:
            folder = _kept(folder, self.folder)
        changes = Changes(self.folder, folder)
        applied = not dry_run and not folder.settings.is_broken and (force or not changes.lost)
        if applied:
            self.folder = folder
            self._taken_up(folder, changes)
            await self._keep_versions(by=by)
        return folder, changes, applied

    async def _keep_versions(self, *, by: str | None) -> None:
        files = self.folder.files
        texts = {i: _text(f) for i, f in files.items() if f.job is not None and not f.errors}
        try:
            await asyncio.to_thread(self._store.keep_versions, texts, broken=files.keys() - texts, by=by)
        except StoreError as error:
            log.error("the texts of job files are not kept: %s", error)

    async def watch(self) -> None:
        """Take up changes of files as they are saved. A broken edit keeps the working job, and is told."""
        said: tuple[FileError, ...] = ()
        quiet_s = 0
        async for seen in awatch(self.root, yield_on_timeout=True, rust_timeout=1000):
            if not seen:
                quiet_s += 1
                if quiet_s % LOOK_EVERY_S != 1:  # the first second: for edits before the watch was set up
                    continue
            folder, changes, applied = await self.reload(keep=True)
            for kind, job_ids in changes.by_kind().items() if applied else ():
                for job_id in job_ids:
                    log.info("job %s %s", job_id, kind)
            errors = tuple(folder.errors)
            for error in errors if errors != said else ():
                log.error("%s%s", error, "" if applied else "; nothing is taken up until it is mended")
            said = errors

    # -- one file

    def file_of(self, job_id: str) -> Path:
        """Where the file of a job is, or would be.

        Raises:
            Refused: there can be no job of this id.
        """
        parts = job_id.split("/")
        if _UNSEEN.search(job_id) or any(p in {"", ".", ".."} for p in parts) or parts[-1].startswith("."):
            raise Refused(f"'{job_id}' can be no job's id: it is the path of its file in the job folder")
        path = self.root / f"{job_id}.yaml"
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise Refused(f"the file of {job_id} is a link that leads out of the job folder")
        return path

    def read(self, job_id: str) -> tuple[str, str]:
        """The text of a job's file as it is on disk now, and its tag. Blocks.

        Raises:
            NotFound: there is no such file.
        """
        try:
            text = self.file_of(job_id).read_bytes()
        except OSError:
            raise NotFound(f"there is no job file {job_id}.yaml") from None
        return text.decode("utf-8", "replace"), tag_of(text)

    async def write(self, job_id: str, text: str, *, tag: str | None, by: str) -> str:
        """Write a job's file, once it was checked, and take it up; gives the new tag.

        Args:
            job_id: of a job, or of one that is new.
            text: the whole of it.
            tag: that of the text which this one replaces; None: there is no file yet.
            by: who writes it.

        Raises:
            EditRefused: the file is another by now, or the text is wrong.
        """
        async with self._lock:
            path = self.file_of(job_id)
            data = text.encode()
            await asyncio.to_thread(self._write, path, job_id, data, tag)
            await self._reload(dry_run=False, force=False, keep=True, by=by)
            return tag_of(data)

    async def edit(self, job_id: str, changes: Mapping[str, Any], *, tag: str, by: str) -> tuple[str, str]:
        """Change single keys of a job's file, and take it up; all other lines stay as they are.

        Args:
            job_id: of a job that has a file.
            changes: new values, by the keys that lead there, with dots between: `schedule.daytime`; an item
                of a list by its number: `schedule.0.tz`; None takes a key away.
            tag: that of the text which they are meant for.
            by: who writes it.

        Returns:
            The new text, and its tag.

        Raises:
            NotFound: there is no such file.
            EditRefused: the file is another by now, a key cannot be changed by itself, or the new text is
                wrong.
        """
        async with self._lock:
            path = self.file_of(job_id)
            text, now = await asyncio.to_thread(self.read, job_id)
            if now == tag:  # if not, writing it says so
                text = _edited(text, changes)
            await asyncio.to_thread(self._write, path, job_id, text.encode(), tag)
            await self._reload(dry_run=False, force=False, keep=True, by=by)
            return text, tag_of(text.encode())

    def _write(self, path: Path, job_id: str, data: bytes, tag: str | None) -> None:
        now = tag_of(path.read_bytes()) if path.exists() else None
        if now != tag:
            what = "has been written by somebody else since" if now and tag else "is there already"
            what = what if now else "is not there any more"
            raise EditRefused(f"the file of {job_id} {what}: read it again", is_stale=True)
        errors = [error for error in self.check(job_id, data) if error.level == "error"]
        if errors:
            raise EditRefused("; ".join(f"{e.line}:{e.col}: {e.message}" for e in errors), tuple(errors))
        target = path.resolve()
        _make_folder(target.parent)
        # No reader ever sees half of it; and a name with a dot is no job.
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".new")
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, target.stat().st_mode & 0o777 if target.exists() else 0o644)
        os.replace(temporary, target)

    def check_all(self) -> list[FileError]:
        """What is wrong with the files as they are on disk now, and what to think of. Blocks."""
        return check_folder(self._load(), utc_now(), names=self._names)

    def check(self, job_id: str, text: bytes | str) -> list[FileError]:
        """What is wrong with a text, were it the file of a job, and what to think of. Blocks."""
        return check_folder(self._with(job_id, text), utc_now(), [job_id], names=self._names)

    def job_of(self, job_id: str, text: bytes | str) -> Job | None:
        """The job that a text would make; None: it is broken."""
        return self._with(job_id, text).files[job_id].job

    def _with(self, job_id: str, text: bytes | str) -> Folder:
        source = str(self.file_of(job_id).parent.absolute())
        settings = replace(self.folder.settings, class_of=self._known_class)
        file = load_text(text, job_id, file=f"{job_id}.yaml", source=source, settings=settings)
        return replace(self.folder, files={**self.folder.files, job_id: file})

    def _known_class(self, import_path: str) -> ClassKeys:
        """A class that the folder names already: a text that comes over the network chooses no other code."""
        folder = self.folder
        tasks = [job.program.task for job in folder.jobs.values() if isinstance(job.program, Process)]
        conditions = [condition for job in folder.jobs.values() for condition in job.conditions]
        named = {part.type for part in (*tasks, *conditions) if isinstance(part, Custom | CustomCondition)}
        named |= set(folder.settings.aliases.values())
        if import_path not in named or folder.settings.class_of is None:
            raise ApsisError(
                f"'{import_path}' is code of the server, which no file of its job folder names yet: "
                "name it in a file there, or as an alias in .apsis.yaml"
            )
        return folder.settings.class_of(import_path)


def _make_folder(folder: Path) -> None:
    """Make a folder of job files, which programs of other accounts may start in."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def tag_of(text: bytes) -> str:
    """What names a text: other for each other text."""
    return blake2b(text, digest_size=12).hexdigest()


def _text(file: JobFile) -> str:
    return file.text.decode("utf-8", "replace") if isinstance(file.text, bytes) else file.text


def _edited(text: str, changes: Mapping[str, Any]) -> str:
    try:
        for key, value in changes.items():
            text = edit_yaml(text, tuple(key.split(".")), value)
    except (CannotEdit, YamlErrors) as error:
        raise EditRefused(str(error)) from None
    return text


def _kept(found: Folder, before: Folder) -> Folder:
    """The folder as it was found, but with the working jobs of files that are broken now."""
    files: Mapping[str, JobFile] = {
        job_id: replace(file, job=before.jobs[job_id]) if file.job is None and job_id in before.jobs else file
        for job_id, file in found.files.items()
    }
    return replace(found, files=files)


def error_facts(error: FileError) -> dict[str, Any]:
    """What is wrong with a file as JSON: job_id, file, line, col, level, message."""
    return {
        "job_id": error.job_id,
        "file": str(error.file),
        "line": error.line,
        "col": error.col,
        "level": error.level,
        "message": error.message,
    }
