"""A server's `Programs` in a process of its own, to be killed: starts runs, says what it hears, and stays.

Arguments: the folder of run directories, then a shell command for each run from 1 on. A line `stop N` of its
input stops run N.
"""

import asyncio
import sys
from pathlib import Path

from apsis_nb.core.events import Event
from apsis_nb.core.programs import Stop
from apsis_nb.programs import Programs
from tests.programs.serving import a_run, shell


async def main(root: Path, commands: list[str]) -> None:
    def tell(event: Event) -> None:
        sys.stdout.write(f"{type(event).__name__} {getattr(event, 'run_id', '')}\n")
        sys.stdout.flush()

    programs = Programs(root, tell=tell)
    await programs.open()
    runs = {i: a_run(i, shell(c, stop=Stop(grace_period_s=0.5))) for i, c in enumerate(commands, 1)}
    for run in runs.values():
        programs.start(run)
    for _ in iter(int, 1):
        line = await asyncio.to_thread(sys.stdin.readline)
        programs.stop(runs[int(line.split()[1])])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
