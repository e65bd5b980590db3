"""Job files and folders of them, read."""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from apsis_nb.core.actions import Names
from apsis_nb.core.checks import Checks
from apsis_nb.core.errors import JobError, JobErrors, NotFound
from apsis_nb.core.fields import KeyPath
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.programs import NO_SITE, Hosts

from .faults import FileError, file_error
from .settings import SETTINGS, Functions, Settings, load_settings
from .yaml12 import MAX_BYTES, Spot, YamlErrors, parse_yaml

SUFFIX = ".yaml"
#: At the top of a folder of jobs: templates of jobs.
TEMPLATES = "_templates"
#: Where other programs keep copies of files. Jupyter makes one of each file that it edits, and a copy of a
#: job file would run the job twice.
_SKIPPED = frozenset({".ipynb_checkpoints", ".git"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A file that was read: a job, or what is wrong with it."""

    job_id: str
    file: str
    job: Job | None
    errors: tuple[FileError, ...] = ()
    digest: tuple[int, int] | None = None  #: time of change (ns) and size, as it was read
    text: bytes | str = field(default=b"", repr=False)  #: what was read


@dataclass(frozen=True)
class Folder:
    """The job files of a folder, by job id."""

    files: Mapping[str, JobFile] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)  #: what its jobs have in common

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """The good jobs, by id."""
        return {f.job_id: f.job for f in self.files.values() if f.job is not None}

    @cached_property
    def errors(self) -> list[FileError]:
        """All that is wrong, by file."""
        return [*self.settings.errors, *(error for f in self.files.values() for error in f.errors)]


def load_folder(
    root: Path | str,
    previous: Folder | None = None,
    *,
    functions: Functions | None = None,
    hosts: Hosts = NO_SITE.hosts,
    late_start_s: float | None = None,
) -> Folder:
    """Read all job files under a folder.

    Every file whose name ends in `.yaml` and does not start with a dot is one.
    Links to folders are not followed. With settings that are broken no job is good.

    Args:
        root: the folder.
        previous: of an earlier call; a good file that has not changed since is not read again.
        functions: for templates, by name; those of the folder's own settings win.
        hosts: which machine jobs mean by a name; None: any name will do, for nothing is started.
        late_start_s: start budget of jobs that say none; None: the usual one.

    Raises:
        NotFound: there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise NotFound(f"there is no job folder {root}")
    settings = load_settings(root, functions, hosts)
    if late_start_s is not None:
        settings = settings.with_late_start(late_start_s)
    if settings.is_broken:
        return Folder({}, settings)
    if previous and previous.settings != settings:  # then any job may have changed
        previous = None
    files = {}
    for path in _paths(root):
        job_id = job_id_of(path, root)
        known = previous.files.get(job_id) if previous else None
        if known and known.job and known.digest and known.file == str(path) and known.digest == _digest(path):
            files[job_id] = known
        else:
            files[job_id] = load_file(path, root, settings)
    return Folder(files, settings)


def _paths(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(set(names) - _SKIPPED - ({TEMPLATES} if Path(folder) == root else set()))
        for name in sorted(files):
            if name.endswith(SUFFIX) and not name.startswith("."):
                yield Path(folder, name)


def _digest(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def job_id_of(path: Path, root: Path) -> str:
    """The id of the job in a file: its path within the folder, without the suffix."""
    return path.absolute().relative_to(root.absolute()).as_posix().removesuffix(SUFFIX)


def root_of(path: Path) -> Path:
    """The folder of jobs of a file: the nearest above it that has settings, else the one that it lies in."""
    above = path.absolute().parents
    return next((folder for folder in above if (folder / SETTINGS).exists()), path.parent)


def load_file(
    path: Path | str,
    root: Path | str | None = None,
    settings: Settings | None = None,
    *,
    functions: Functions | None = None,
    hosts: Hosts = NO_SITE.hosts,
) -> JobFile:
    """Read one job file.

    Args:
        path: the file.
        root: the folder of jobs that it belongs to, for its id; by default the nearest above it that has
            settings, else the one that it lies in.
        settings: of the folder; None: they are read, too.
        functions, hosts: as `load_folder` takes them, where the settings are read.
    """
    path = Path(path)
    root = root_of(path) if root is None else Path(root)
    job_id = job_id_of(path, root)
    if settings is None:
        settings = load_settings(root, functions, hosts)
    if settings.is_broken:
        return JobFile(job_id=job_id, file=str(path), job=None, errors=settings.errors)
    try:
        # To open a pipe would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("it is no regular file")
        digest = _digest(path)  # before it is read: a change in between is read once more
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        fault = FileError(str(path), 1, 1, (), f"cannot be read: {error.strerror or error}", job_id)
        return JobFile(job_id=job_id, file=str(path), job=None, errors=(fault,))
    source = str(path.parent.absolute())
    return load_text(text, job_id, file=str(path), source=source, settings=settings, digest=digest)


def load_text(
    text: bytes | str,
    job_id: str,
    *,
    file: str = "<text>",
    source: str | None = None,
    settings: Settings | None = None,
    digest: tuple[int, int] | None = None,
) -> JobFile:
    """Read the text of a job file.

    Args:
        text: the YAML; bytes are UTF-8.
        job_id: the id of the job.
        file: what to call it in errors.
        source: folder that relative paths of its program start from.
        settings: of the folder that it belongs to.
        digest: of the file that it comes from.
    """
    settings = settings or Settings()
    spot = Spot()
    job: Job | None = None
    errors: list[FileError] = []
    try:
        job_id.encode()
        spot = parse_yaml(text)
        job = job_from_dict(
            job_id,
            settings.completed(spot.value),
            source=source,
            calendars=settings.calendars,
            functions=settings.functions,
            site=settings.site,
        )
    except UnicodeEncodeError:
        job_id, file = (name.encode("utf-8", "replace").decode() for name in (job_id, file))
        errors = [FileError(file, 1, 1, (), "the name of the file is not UTF-8", job_id)]
    except YamlErrors as error:
        errors = [FileError(file, fault.line, fault.col, (), fault.message, job_id) for fault in error.faults]
    except JobErrors as error:
        errors = [file_error(fault, spot, file, job_id) for fault in error.errors]
    errors.sort(key=lambda error: (error.line, error.col))
    return JobFile(job_id=job_id, file=file, job=job, errors=tuple(errors), digest=digest, text=text)


def check_folder(
    folder: Folder, now: datetime, job_ids: Collection[str] | None = None, *, names: Names | None = None
) -> list[FileError]:
    """What is wrong with the files of a folder, also beside each other: names of jobs, args, a run on trial.

    What is of level `warning` keeps nobody from running the job.

    Args:
        folder: as it was read.
        now: aware; the trial runs are the next ones.
        job_ids: only of these jobs; None: of all.
        names: for actions, of a server's configuration; None: they are not looked at.
    """
    errors = list(folder.settings.errors) if job_ids is None else []
    checks = Checks(folder.jobs, now, names)
    for job_file in folder.files.values():
        if job_ids is not None and job_file.job_id not in job_ids:
            continue
        errors += job_file.errors
        faults = [] if job_file.job is None else checks.of(job_file.job)
        if faults:
            spot = parse_yaml(job_file.text)
            for fault in faults:
                written = JobError(_as_written(fault.path, spot), fault.message, level=fault.level)
                errors.append(file_error(written, spot, job_file.file, job_file.job_id))
    return errors


def _as_written(path: KeyPath, spot: Spot) -> KeyPath:
    """The path into a job as its file has it: one item needs no list, and successors are actions too."""
    if len(path) < 2:
        return path
    key, n, *rest = path
    actions = spot.parts.get("action", Spot([]))
    count = len(actions.value) if isinstance(actions.value, list) else 1
    if key == "action" and isinstance(n, int) and n >= count:
        key, n = "successors", n - count
    items = spot.parts.get(key, Spot([]))
    return (key, n, *rest) if isinstance(items.value, list) else (key, *rest)
