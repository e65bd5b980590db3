"""How long the command line and the module take to start, above a bare interpreter: processor time."""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figure, show

REPEATS = 9
HELP_MS, IMPORT_MS = 200, 300
_COMMANDS = {
    "apsis-nb --help": (["-m", "apsis_nb", "--help"], HELP_MS),
    "apsis-nb runs --help": (["-m", "apsis_nb", "runs", "--help"], HELP_MS),
    "import apsis_nb": (["-c", "import apsis_nb"], IMPORT_MS),
}


def measure(repeats: int = REPEATS) -> Iterator[Figure]:
    """What each takes, less what an interpreter takes that does nothing."""
    bare = _cpu_ms(["-c", "pass"], repeats)
    yield Figure("a bare interpreter", bare, "ms")
    for name, (words, most) in _COMMANDS.items():
        yield Figure(f"{name}, above it", _cpu_ms(words, repeats) - bare, "ms", most)


def _cpu_ms(words: list[str], repeats: int) -> float:
    """Processor time of a process, once its modules are compiled."""
    times = []
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=env)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return statistics.median(times[1:])


def report() -> None:
    """Measure, and print what was seen."""
    print("Start-up, processor time")
    show(measure())


if __name__ == "__main__":
    report()
