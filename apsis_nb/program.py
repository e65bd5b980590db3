"""Programs of one's own: a class in a module, which a job file names by its import path.

```python
from dataclasses import dataclass
from apsis_nb.program import Program, ThisRun

@dataclass
class Report(Program):
    day: str
    rows: int = 1000

    def run(self, run: ThisRun) -> dict[str, int]:
        print(f"{run.run_id} reports {self.day}")
        return {"rows": self.rows}
```

In a job file: `program: {type: reports.Report, day: "{{ date }}"}`.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisRun:
    """The run whose program this process is."""

    run_id: str  #: as people write it: r123
    job_id: str
    args: Mapping[str, str]
    labels: tuple[str, ...]
    attempt: int  #: counted from 1
    scheduled_at: datetime  #: when it was due; aware, UTC
    nominal_at: datetime | None  #: what the schedule says; None if no schedule made it
    output_dir: Path  #: each file that is left there is kept as an output

    @classmethod
    def of(cls, env: Mapping[str, str] = os.environ) -> "ThisRun":
        """The run that an environment tells of.

        Raises:
            KeyError: it is not that of a run's program.
        """
        nominal = env.get("APSIS_NOMINAL_TIME")
        return cls(
            run_id=env["APSIS_RUN_ID"],
            job_id=env["APSIS_JOB_ID"],
            args=json.loads(env["APSIS_ARGS"]),
            labels=tuple(json.loads(env["APSIS_LABELS"])),
            attempt=int(env["APSIS_ATTEMPT"]),
            scheduled_at=datetime.fromisoformat(env["APSIS_SCHEDULED_TIME"]),
            nominal_at=None if nominal is None else datetime.fromisoformat(nominal),
            output_dir=Path(env["APSIS_OUTPUT_DIR"]),
        )


class Program(ABC):
    """Base of the classes that job files may name as `type: package.module.Class`.

    The arguments of its constructor are the keys that a job file gives, and the texts in them are templates.
    An object is made for each run, in a process of its own, on the server's Python.
    """

    @abstractmethod
    def run(self, run: ThisRun) -> Any:
        """Do it. What is printed is the run's output; an exception makes the run a failure.

        Args:
            run: which run this is.

        Returns:
            What becomes the output `result.json`: any value of JSON, or None for no such output.
        """
