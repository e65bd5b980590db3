"""A backfill as a live object: how far it is, its runs, and stopping or going on with it as one."""

import sys
import time
from typing import TYPE_CHECKING, Any

from apsis_nb.client.errors import WaitTimeout

if TYPE_CHECKING:
    import pandas as pd

    from apsis_nb.client.client import Client

#: Seconds between two looks at a backfill that somebody waits for.
_LOOK_S = 0.5


class Backfill:
    """Runs of a job for times or args of long ago, seen as one."""

    def __init__(self, client: "Client", facts: dict[str, Any]) -> None:
        self._client = client
        self._facts = facts
        self.backfill_id: str = facts["backfill_id"]
        self.job_id: str = facts["job_id"]

    @property
    def facts(self) -> dict[str, Any]:
        """How far it is now.

        `instances` that were asked for, `runs` made for them (more if some were tried again), and of these
        `left` that have not begun, `running`, `success`, `failed` and `skipped`; `asked_at`, `first_at`,
        `last_at` (nominal times), `finished_at`, `by`.
        """
        self._facts = self._client.connection.json("GET", f"/backfills/{self.backfill_id}")
        return self._facts

    @property
    def is_finished(self) -> bool:
        """Whether none of its runs is left or under way."""
        facts = self.facts
        return not facts["left"] and not facts["running"]

    def wait(self, timeout: float | None = None, *, progress: bool = True) -> "Backfill":
        """Wait until nothing of it is left or under way.

        Args:
            timeout: seconds; None: as long as it takes.
            progress: draw a bar, on standard error, if it is a terminal or a notebook.

        Raises:
            WaitTimeout: it has not ended in that time.
        """
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        deadline = None if timeout is None else time.monotonic() + timeout
        console = Console(stderr="ipykernel" not in sys.modules)
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (progress and (console.is_terminal or console.is_jupyter)),
        )
        with bar:
            task = bar.add_task(f"backfill of {self.job_id}")
            while True:
                facts = self.facts
                open_ = facts["left"] + facts["running"]
                failed = f", {facts['failed']} failed" if facts["failed"] else ""
                bar.update(
                    task,
                    total=facts["runs"],
                    completed=facts["runs"] - open_,
                    description=f"backfill of {self.job_id}{failed}",
                )
                if not open_:
                    return self
                if deadline is not None and time.monotonic() > deadline:
                    raise WaitTimeout(
                        f"{open_} runs of backfill {self.backfill_id} are open after {timeout:g} s"
                    )
                time.sleep(_LOOK_S)

    def runs(self) -> "pd.DataFrame":
        """Its runs, oldest first: columns of the view `runs`."""
        number = int(self.backfill_id[1:])
        return self._client.sql("FROM runs WHERE backfill_id = $1 ORDER BY run_id", [number])

    def stop(self) -> "Backfill":
        """Do not run what is left; what runs goes on."""
        self._facts = self._client.connection.json("POST", f"/backfills/{self.backfill_id}/stop")
        return self

    def resume(self, *, max_running: int = 1, actions: bool = False) -> "Backfill":
        """Run what it has not got done: what was stopped, and what failed."""
        body = {"max_running": max_running, "actions": actions}
        self._facts = self._client.connection.json("POST", f"/backfills/{self.backfill_id}/resume", body=body)
        return self

    def __repr__(self) -> str:
        told = ", ".join(
            f"{self._facts[name]} {name}"
            for name in ("left", "running", "success", "failed", "skipped")
            if self._facts.get(name)
        )
        return f"<backfill {self.backfill_id} of {self.job_id}: {told or 'nothing'}>"
