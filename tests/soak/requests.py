"""Thousands of made-up requests to a server: none makes it fail, and every answer is as described."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.server.conftest import serving
from tests.server.made_up import ask, write_no_ops

CASES = 5000


def main() -> None:
    """Ask, and print what was seen; the exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_no_ops(Path(name) / "jobs")
        began = time.monotonic()
        with serving(Path(name)) as served:
            asked, faults = ask(served, given.cases, given.seed)
    took_s = time.monotonic() - began
    print(f"{asked} requests in {took_s:.0f} s, seed {given.seed}: {len(faults)} faults")
    print("\n\n".join(faults), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
