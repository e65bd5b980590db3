"""Files of new jobs that are made of what other programs have: where they go, and what is told of them."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

from apsis_nb.cli.listing import Shown, show
from apsis_nb.cli.options import Format
from apsis_nb.cli.writing import write_new
from apsis_nb.core.errors import ApsisError
from apsis_nb.jobfiles import load_folder, load_text, yaml_of

#: What becomes of something that is to be a job.
What = Literal["job", "there already", "left"]


class NotTaken(ValueError):
    """No job can be made of it; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What becomes of a notebook, or of a definition of a job that runs one."""

    source: str  #: what it is called where it comes from
    what: What
    job_id: str | None = None
    job: Mapping[str, Any] | None = None  #: the job file's content; None: there is none to be written
    notebook: str | None = None  #: the text of a notebook that goes beside the job
    notes: tuple[str, ...] = ()


class Place:
    """The folder that new jobs go to, and the jobs that there are.

    Args:
        jobs: the job folder.
        path: the folder in it.

    Raises:
        ApsisError: the path is none below the job folder.
    """

    def __init__(self, jobs: Path, path: str) -> None:
        below = PurePath(path)
        is_below = not below.is_absolute() and below.parts and ".." not in below.parts
        if not is_below or any(part.startswith((".", "_")) for part in below.parts):
            raise ApsisError(f"--path {path}: give a folder below the job folder, as cron or ops/cron")
        self.jobs, self.folder = jobs, below.as_posix()
        self.there = load_folder(jobs) if jobs.is_dir() else None
        self._taken = set(self.there.files) if self.there else set()

    def known(self, key: str) -> dict[str, str]:
        """The ids of jobs by what stands under this key of their metadata."""
        good = [(job_id, job) for job_id, job in self.there.jobs.items()] if self.there else []
        return {str(job.metadata[key]): job_id for job_id, job in good if key in job.metadata}

    def free(self, name: str) -> str:
        """An id that no job has, after a name."""
        words = [re.sub(r"[^\w.-]+", "-", part).strip("-._") for part in name.split("/")]
        stem = "/".join(word for word in words if word) or "notebook"
        job_id, n = f"{self.folder}/{stem}", 1
        while job_id in self._taken:
            n += 1
            job_id = f"{self.folder}/{stem}-{n}"
        self._taken.add(job_id)
        return job_id

    def checked(self, found: Found) -> Found:
        """The same, or why its job would be wrong."""
        assert found.job is not None
        assert found.job_id is not None
        if wrong := self.wrong(found.job_id, found.job):
            return replace(found, what="left", job=None, job_id=None, notebook=None, notes=(wrong,))
        return found

    def wrong(self, job_id: str, job: Mapping[str, Any]) -> str:
        """What is wrong with a job that is to be made; empty: nothing."""
        settings = self.there.settings if self.there else None
        read = load_text(yaml_of(job), job_id, source=str(self.jobs.absolute()), settings=settings)
        return "; ".join(error.message for error in read.errors)


def make(
    found: Sequence[Found], place: Place, source: str, dry_run: bool, format: Format, empty: str
) -> None:
    """Write the files of what was found, unless that is only to be told, and tell it.

    Args:
        found: in the order in which it is told.
        place: where the files go.
        source: the name of what they were made of.
        dry_run: only tell.
        format: of the listing.
        empty: what is said if nothing was found.
    """
    made = [each for each in found if each.job is not None]
    for each in () if dry_run else made:
        assert each.job is not None
        if each.notebook is not None:
            write_new(place.jobs / f"{each.job_id}.ipynb", each.notebook)
        write_new(place.jobs / f"{each.job_id}.yaml", yaml_of(each.job))
    rows = [
        {source: each.source, "what": each.what, "job_id": each.job_id, "notes": list(each.notes)}
        for each in found
    ]
    columns = [
        Shown(source, lambda r: r[source], gives_way=True),
        Shown("", lambda r: r["what"]),
        Shown("job", lambda r: r["job_id"] or "", gives_way=True),
        Shown("", lambda r: "; ".join(r["notes"]), spare=True),
    ]
    show(rows, columns, format, empty=empty)
    is_off = any(each.job.get("schedule", {}).get("enabled") is False for each in made if each.job)
    off = "; their schedules are off until `enabled: false` is taken away" if is_off else ""
    done = "would be made" if dry_run else "made"
    sys.stderr.write(f"{len(made)} jobs {done} in {place.jobs / place.folder}{off}\n")
