"""The past runs of another store of ours: of a server that is stopped, or of a backup."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.programs import NoOp, Program, program_from_dict
from apsis_nb.store.outputs import read_range
from apsis_nb.store.past import Imported, PastLine, PastOutput, PastRun, Unmapped
from apsis_nb.store.queries import import_queries, queries
from apsis_nb.store.rows import FACTS, OutputRow
from apsis_nb.store.store_file import StoreFile

#: Bytes of an output that are in memory at once.
_PIECE = 1 << 22


class PastStore:
    """The finished runs of a store's file.

    Args:
        path: of the file; the outputs are looked for beside it.

    Raises:
        StoreError: as of `StoreFile`.
    """

    def __init__(self, path: Path) -> None:
        self._file = StoreFile(path)
        self.name = path.name
        ((self.count,),) = self._ask("past_count", {})
        self._programs: dict[int, Program | None] = {}

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def batches(self, size: int) -> Iterator[list[PastRun | Unmapped]]:
        """Its runs, the oldest ids first, at most `size` at once; then those that had not finished."""
        after = -1
        while rows := self._ask("past_runs", {"after": after, "limit": size}, first_id=after + 1):
            yield list(self._runs(rows))
            after = rows[-1][0]
        if live := self._ask("past_live", {}):
            yield [Unmapped(run=f"r{run_id}", why=f"it had not finished ({state})") for run_id, state in live]

    def _runs(self, rows: list[tuple[Any, ...]]) -> Iterator[PastRun]:
        span = {"first": rows[0][0], "last": rows[-1][0]}
        log, meta, outputs, dropped, former = (
            self._by_run(f"past_{name}", span) for name in ("log", "meta", "outputs", "dropped", "imported")
        )
        self._read_programs({row[-1] for row in rows})
        for *row, program_id in rows:
            run_id = row[0]
            lines = log[run_id]
            made, lost = json.loads(lines[0][3] or "{}") if lines else {}, []
            program = self._programs.get(program_id)
            if program is None:
                program = NoOp(success=False)
                lost.append("its program cannot be read")
            yield PastRun(
                facts=dict(zip(FACTS, row, strict=True)),
                made=made,
                program=program,
                log=[PastLine(ts=ts, state=state, message=message) for ts, state, message, _ in lines],
                meta=meta[run_id][0] if run_id in meta else None,
                outputs=[self._output(piece) for piece in outputs[run_id]],
                dropped=dropped[run_id][0] if run_id in dropped else None,
                former=[
                    Imported(source=source, source_run=source_run, ts=ts)
                    for source, source_run, ts in former[run_id]
                ],
                lost=lost,
            )

    def _output(self, row: tuple[Any, ...]) -> PastOutput:
        names = ("name", "content_type", "length", "pack", "pack_offset", "stored")
        output = OutputRow(**dict(zip(names, row, strict=True)))
        return PastOutput(
            name=output.name, content_type=output.content_type, read=partial(self._pieces, output)
        )

    def _pieces(self, output: OutputRow) -> Iterator[bytes]:
        for offset in range(0, output.length, _PIECE):
            yield read_range(self._file.packs, output, offset, _PIECE)

    def _read_programs(self, ids: set[int]) -> None:
        new = sorted(ids - self._programs.keys())
        if new:
            found = dict(self._file.rows(queries()["programs_by_id"].text, {"ids": new}))
            self._programs |= {program_id: _program_of(found.get(program_id)) for program_id in new}

    def _by_run(self, query: str, span: Mapping[str, int]) -> defaultdict[int, list[tuple[Any, ...]]]:
        found: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for run_id, *row in self._ask(query, span, first_id=span["first"], last_id=span["last"]):
            found[run_id].append(tuple(row))
        return found

    def _ask(
        self, query: str, params: Mapping[str, Any], *, first_id: int = 0, last_id: int = 1 << 62
    ) -> list[tuple[Any, ...]]:
        return self._file.rows(import_queries()[query].text, params, ids=(first_id, last_id))


def _program_of(text: str | None) -> Program | None:
    """The program of a text; None: it cannot be read."""
    try:
        return None if text is None else program_from_dict(json.loads(text), is_bound=True)
    except (ApsisError, ValueError):
        return None
