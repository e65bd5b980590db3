"""Conditions of one's own: a class in a module, which a job file names by its import path.

```python
from dataclasses import dataclass
from pathlib import Path

from apsis_nb.condition import Condition, WaitingRun

@dataclass
class Delivered(Condition):
    folder: str
    files: int = 1

    poll_interval = 10

    def check(self, run: WaitingRun) -> bool | str:
        there = len(list(Path(self.folder).glob("*.csv")))
        return there >= self.files or f"{there} of {self.files} files are there"
```

In a job file: `condition: {type: deliveries.Delivered, folder: "/data/in/{{ date }}", files: 3}`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRun:
    """The run that waits."""

    run_id: str  #: as people write it: r123
    job_id: str
    args: Mapping[str, str]
    labels: tuple[str, ...]
    attempt: int  #: counted from 1
    scheduled_at: datetime  #: when it was due; aware, UTC, as all times here
    nominal_at: datetime | None  #: what the schedule says; None if no schedule made it
    waits_since: datetime  #: when it began to wait, also if a server before this one saw that


@dataclass(frozen=True, slots=True)
class End:
    """An answer of `check`: the run waits no more and is not run; it ends in this state."""

    state: Literal["skipped", "error"]
    reason: str  #: for people

    def __post_init__(self) -> None:
        if self.state not in ("skipped", "error"):
            raise ValueError(f"a run that waits may end as 'skipped' or 'error', not as {self.state!r}")


#: True: it holds. False: not yet. A text: not yet, and why.
Answer = bool | str | End


class Condition(ABC):
    """Base of the classes that job files may name as `type: package.module.Class` of a condition.

    The arguments of its constructor are the keys that a job file gives, and the texts in them are templates.
    An object is made for each run that waits, in the server, and asked until it says that it holds. From then
    on it counts as met.
    """

    #: Seconds between two checks, 0.1 or more; or a text such as `5m`. An object may have its own.
    poll_interval: float | str = 1.0

    @abstractmethod
    def check(self, run: WaitingRun) -> Answer | Awaitable[Answer]:
        """Whether the run need not wait for this any more.

        It is called in a thread of its own, so it may take its time; it may also be an `async def`. It is
        not called again before it has returned. An exception ends the run as an error, with its text.

        Args:
            run: which run this is.

        Returns:
            True if it holds; False, or a text that says why, if the run must wait; `End` if there is nothing
            to wait for.
        """
