"""Asks objects of users' classes whether conditions hold; what their code does wrong ends a run at most."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsis_nb import condition as public
from apsis_nb.core.conditions import CustomCondition, End
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State
from apsis_nb.core.times import parse_duration
from apsis_nb.jobfiles import import_class

log = logging.getLogger("apsis_nb.conditions")

#: Seconds between two checks: no fewer, and no more.
LEAST_S, MOST_S = 0.1, 86400.0
#: So much of what a condition says is told.
TEXT = 300


@dataclass(frozen=True, slots=True)
class Answered:
    """What a check came to."""

    holds: bool = False
    text: str | None = None  #: why it does not hold
    end: End | None = None  #: what becomes of the run instead
    again_s: float = 1.0  #: when to ask again


class Checker:
    """A condition of a waiting run as an object of its class, which is made when it is asked first.

    Args:
        run: that waits.
        condition: of the run.
        root: a folder in which the module of the class may lie.
    """

    def __init__(self, run: Run, condition: CustomCondition, root: Path) -> None:
        self._condition, self._root = condition, root
        self._object: public.Condition | None = None
        self._run = public.WaitingRun(
            run_id=run.name,
            job_id=run.job_id,
            args=run.args,
            labels=run.labels,
            attempt=run.attempt,
            scheduled_at=run.scheduled_at,
            nominal_at=run.nominal_at,
            waits_since=run.state_at,
        )

    def ask(self) -> Answered:
        """What the object says now. Blocks for as long as it likes; raises nothing."""
        try:
            if self._object is None:
                self._object = self._made()
            answer: Any = self._object.check(self._run)
            if inspect.isawaitable(answer):
                answer = asyncio.run(_awaited(answer))
            return self._answered(answer, self._object)
        except BaseException as error:  # whatever users' code raises, sys.exit() too
            name, run_id = self._condition.type, self._run.run_id
            log.warning("the condition %s failed", name, exc_info=True, extra={"run": run_id})
            kind = "" if isinstance(error, ApsisError) else f"{type(error).__name__}: "
            return Answered(end=End(State.ERROR, f"{name}: {_line(f'{kind}{error}')}"))

    def _made(self) -> public.Condition:
        found = import_class(self._condition.type, root=self._root)
        if not issubclass(found, public.Condition):
            raise ApsisError("it is no condition any more")
        return found(**self._condition.keys)

    def _answered(self, answer: Any, asked: public.Condition) -> Answered:
        again_s = min(MOST_S, max(LEAST_S, parse_duration(asked.poll_interval)))
        match answer:
            case public.End(state=state, reason=reason):
                return Answered(end=End(State(state), _line(reason) or self._condition.type))
            case str():
                return Answered(text=_line(answer) or None, again_s=again_s)
            case None:
                raise ApsisError("check returned nothing: it must return True, False, a text or End")
            case _:
                return Answered(holds=bool(answer), again_s=again_s)


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _line(text: str) -> str:
    """A text as one line that is not too long."""
    line = " ".join(str(text).split())
    return line if len(line) <= TEXT else f"{line[: TEXT - 1]}…"
