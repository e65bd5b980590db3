"""Brings past runs into a store: batch by batch, each in a transaction of its own, none twice."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from apsis_nb.core.errors import NotFound
from apsis_nb.core.runs import RunId
from apsis_nb.core.times import format_iso
from apsis_nb.store.errors import StoreError, StoreFull
from apsis_nb.store.past import PastLine, PastOutput, PastRun, Source, Unmapped
from apsis_nb.store.queries import import_queries
from apsis_nb.store.rows import FACTS, OutputRow, naive, storable
from apsis_nb.store.store import Store

#: Runs that one transaction brings. With 500 one took 0.1 s on a busy machine, and held all other threads up.
BATCH = 250
_ID_FACTS = ("rerun_of", "backfill_id")


@dataclass(slots=True)
class Report:
    """How far an import has come."""

    source: str  #: name of the file
    of: int  #: runs that the file has, about
    done: int = 0  #: runs that were looked at
    imported: Counter[str] = field(default_factory=Counter)  #: by job; in a dry run those that would be
    known: Counter[str] = field(default_factory=Counter)  #: by job: those that were here before
    problems: Counter[str] = field(default_factory=Counter)  #: what could not be read, and of how many runs
    examples: dict[str, str] = field(default_factory=dict)  #: the first run that has a problem

    def facts(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "source": self.source,
            "of": self.of,
            "done": self.done,
            "imported": self.imported.total(),
            "known": self.known.total(),
            "jobs": [
                {"job_id": job_id, "imported": self.imported[job_id], "known": self.known[job_id]}
                for job_id in sorted({*self.imported, *self.known})
            ],
            "problems": [
                {"what": what, "runs": count, "first": self.examples[what]}
                for what, count in self.problems.most_common()
            ],
        }

    def note(self, run: str, what: str) -> None:
        """Something of a run cannot be read."""
        self.problems[what] += 1
        self.examples.setdefault(what, run)


def open_source(path: Path) -> Source:
    """The past runs of a file: a store of ours, or the database of Apsis.

    Raises:
        NotFound: it is not there.
        StoreError: it is neither, or cannot be read now.
    """
    from apsis_nb.store.past_apsis import PastApsis, is_sqlite
    from apsis_nb.store.past_store import PastStore

    if path.is_dir():
        path = path / "runs.duckdb"
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    return PastApsis(path) if is_sqlite(path) else PastStore(path)


def import_runs(store: Store, source: Source, *, dry_run: bool = False) -> Iterator[Report]:
    """Bring the finished runs of a file into a store, with new ids. Those that are here stay as they are.

    The store may be in use. What was brought stays, wherever this ends; doing it again brings the rest.

    Args:
        dry_run: only tell what would be done.

    Yields:
        The same report, after each batch.

    Raises:
        StoreError: the store cannot be written.
    """
    report = Report(source.name, source.count)
    for batch in source.batches(BATCH):
        runs = []
        for run in batch:
            if isinstance(run, Unmapped):
                report.note(run.run, run.why)
            else:
                runs.append(run)
        known = _known(store, runs)
        report.known.update(run.job_id for run in runs if run.run_id in known)
        new = [run for run in runs if run.run_id not in known]
        for run in new:
            for what in run.lost:
                report.note(f"r{run.run_id}", what)
        if new and not dry_run:
            _bring(store, new, known, report)
        report.imported.update(run.job_id for run in new)
        report.done += len(batch)
        yield report


def _known(store: Store, runs: Sequence[PastRun]) -> dict[RunId, RunId]:
    """Those of the runs that are here, by their old ids."""
    names = [
        (n, name, run.job_id, run.facts["finished_at"])
        for n, run in enumerate(runs)
        for name in (run.run_id, *(was.source_run for was in run.former))
    ]
    if not names:
        return {}
    params = dict(zip(("ns", "ids", "job_ids", "ends"), map(list, zip(*names, strict=True)), strict=True))
    last = max(params["ends"])
    span = min(params["ends"]), last + timedelta(microseconds=1)
    found = store.rows(import_queries()["known"].text, params, span=span)
    return {runs[n].run_id: run_id for n, run_id in found}


def _bring(store: Store, runs: Sequence[PastRun], known: dict[RunId, RunId], report: Report) -> None:
    """Write runs that are not here, with their outputs."""
    outputs = _keep_outputs(store, runs, report)
    first_id, _ = store.reserve_ids(len(runs))
    ids = known | {run.run_id: first_id + n for n, run in enumerate(runs)}
    wanted = {run.facts[name] for run in runs for name in _ID_FACTS} - ids.keys() - {None}
    earlier = {
        (source_run, job_id): run_id
        for source_run, job_id, run_id in store.rows(
            import_queries()["new_names"].text, {"ids": sorted(wanted)}
        )
    }
    now = naive(store.now())
    rows: dict[str, list[tuple[Any, ...]]] = {
        name: [] for name in ("runs", "run_log", "outputs", "run_meta", "dropped", "imported")
    }
    with store.bulk([run.program for run in runs]) as (cursor, program_ids):
        for run, program_id in zip(runs, program_ids, strict=True):
            run_id = ids[run.run_id]
            links = {name: run.facts[name] for name in _ID_FACTS}
            links = {name: ids.get(old) or earlier.get((old, run.job_id)) for name, old in links.items()}
            facts = {**run.facts, **links, "run_id": run_id}
            rows["runs"].append((*(_stored(facts[name]) for name in FACTS), program_id))
            came = f"imported from {report.source}, where it was r{run.run_id}"
            lines = [*run.log, PastLine(ts=now, state=facts["state"], message=came)]
            data: str | None = json.dumps(_made(run, facts) | {"program_id": program_id}, ensure_ascii=False)
            for line in lines:  # the first tells what the run was made from
                rows["run_log"].append((run_id, line.ts, line.state, storable(line.message), storable(data)))
                data = None
            rows["outputs"] += [
                (run_id, o.name, o.content_type, o.length, o.pack, o.pack_offset, o.stored)
                for o in outputs[run.run_id]
            ]
            if run.meta is not None:
                rows["run_meta"].append((run_id, *(_stored(value) for value in run.meta)))
            if run.dropped is not None:
                rows["dropped"].append((run_id, *run.dropped))
            rows["imported"] += [(run_id, was.source, was.source_run, was.ts) for was in run.former]
            rows["imported"].append((run_id, storable(report.source), run.run_id, now))
        cursor.begin()
        for table, batch in rows.items():
            if batch:
                appender = cursor.appender(f"base.{table}")
                appender.append_rows(batch)
                appender.flush()
        cursor.commit()


def _stored(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


def _made(run: PastRun, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the journal must say of a run, so that it can be made again.

    Args:
        facts: of the run, with the ids that it has here.
    """
    made = {name: facts[name] for name in ("job_id", "args", "origin", "labels", "attempt", *_ID_FACTS)}
    for name in ("nominal_at", "scheduled_at", "stop_at"):
        at: datetime | None = facts[name]
        made[name] = None if at is None else format_iso(at)
    kept = {name: value for name, value in run.made.items() if name not in _ID_FACTS}
    return kept | {name: value for name, value in made.items() if value is not None}


def _keep_outputs(store: Store, runs: Sequence[PastRun], report: Report) -> dict[RunId, list[OutputRow]]:
    """Put the outputs of runs among those of the store, by the runs' old ids."""
    kept: dict[RunId, list[OutputRow]] = {run.run_id: [] for run in runs}
    with tempfile.TemporaryDirectory(prefix=".import-", dir=store.path.parent) as folder:
        files: list[tuple[PastRun, PastOutput, Path]] = []
        for run in runs:
            for output in run.outputs:
                path = Path(folder) / str(len(files))
                try:
                    with path.open("wb") as file:
                        file.writelines(output.read())
                except StoreError:
                    report.note(f"r{run.run_id}", f"its output {output.name} cannot be read")
                except OSError as error:
                    raise StoreFull(f"the outputs cannot be kept: {error}") from error
                else:
                    files.append((run, output, path))
        if files:
            packed = store.pack(0, [(output.name, path) for _, output, path in files]).result()
            for (run, output, _), row in zip(files, packed, strict=True):
                kept[run.run_id].append(replace(row, content_type=output.content_type))
    return kept
