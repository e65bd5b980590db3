"""The work of internal programs: what jobs may have the server do itself."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from apsis_nb.core.programs import Internal
from apsis_nb.programs import Answer, Workers
from apsis_nb.store import StoreError
from apsis_nb.wire import finding_facts, plain

from . import archive, backups, doctor, retention
from .stats import stats

if TYPE_CHECKING:
    from .engine import Engine

RESULT = "result.json"


def workers_of(engine: "Engine") -> Workers:
    """What does the work, by the type of the program."""

    async def look_over(_: Internal) -> Answer:
        found = await doctor.examine(engine)
        lines = [f"{f.level}: {f.kind}: {f.subject}: {f.message}\n    {f.fix}\n" for f in found]
        errors = [f for f in found if f.level == "error"]
        failure = f"{len(errors)} errors; the first: {errors[0].message}" if errors else None
        text = "".join(lines) or "all is well\n"
        return Answer(outputs=_outputs(text, [finding_facts(f) for f in found]), failure=failure)

    async def count(_: Internal) -> Answer:
        told = await stats(engine)
        return Answer(outputs=_outputs(_json(told), told))

    async def give_up(_: Internal) -> Answer:
        done = await retention.carry_out(engine)
        lines = [f"{a.job_id}: {a.outputs} outputs of {a.runs} runs, {a.bytes} bytes\n" for a in done]
        text = "".join(lines) or "nothing is beyond what is kept\n"
        return Answer(outputs=_outputs(text, [plain(a.facts()) for a in done]))

    async def back_up(program: Internal) -> Answer:
        folder = None if program.to is None else Path(program.to)
        try:
            facts = (await backups.make(engine, folder, program.keep)).facts()
        except StoreError as error:
            return Answer(outputs=_outputs(f"{error}\n", None), failure=str(error))
        text = f"{facts['path']}: {facts['runs']} runs, {facts['bytes']} bytes\n"
        for name in facts["missing"]:
            text += f"not in it, or not all of it, for the store has it no more: {name}\n"
        return Answer(outputs=_outputs(text, facts))

    async def move_old(program: Internal) -> Answer:
        try:
            moved = await archive.carry_out(engine, program.older_than_s)
        except StoreError as error:
            return Answer(outputs=_outputs(f"{error}\n", None), failure=str(error))
        lines = [f"{month.folder}: {month.runs} runs, {month.bytes} bytes\n" for month in moved]
        text = "".join(lines) or "no month is old enough\n"
        return Answer(outputs=_outputs(text, [plain(month.facts()) for month in moved]))

    return {
        "doctor": look_over,
        "stats": count,
        "retention": give_up,
        "backup": back_up,
        "archive": move_old,
    }


def _outputs(text: str, result: object) -> dict[str, str]:
    """What people read, and the same for programs."""
    return {"output": text, RESULT: _json(result)}


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
