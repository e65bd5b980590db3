"""How long it takes to load and check a folder of many job files."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from apsis_nb.jobfiles import check_folder, load_folder

FILES = 5000

_JOB = """\
# Job {n} of a folder as a team has it after some years.
params: [date, region]
schedule:
  - type: daily
    tz: Europe/London
    calendar: Mon-Fri
    daytime: "{hour:02}:30:00"
    args: {{region: emea}}
  - type: daily
    tz: America/New_York
    calendar: Mon-Fri
    daytime: ["09:00:00", "17:00:00"]
    args: {{region: apac}}
condition:
  - type: max_running
{needs}program:
  type: shell
  command: python report.py "{{{{ date }}}}" --out "out/{{{{ format(Date(date), '%Y%m%d') }}}}.csv"
  timeout: 2h
metadata:
  labels: [team-{team}, daily]
  description: Report {n}.
"""
_NEEDS = """\
  - type: dependency
    job_id: team{team}/job{before}
"""


def measure() -> dict[str, float]:
    """Seconds for a folder of `FILES`: read for the first time, checked, and read again without a change."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for n in range(FILES):
            team = n // 50
            needs = _NEEDS.format(team=team, before=n - 1) if n % 50 else ""
            path = root / f"team{team}" / f"job{n}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(_JOB.format(n=n, hour=n % 24, needs=needs, team=team))
        began = time.perf_counter()
        folder = load_folder(root)
        loaded = time.perf_counter()
        findings = check_folder(folder, datetime.now(UTC))
        checked = time.perf_counter()
        load_folder(root, folder)
        again = time.perf_counter()
    assert not findings, findings[0]
    return {"load": loaded - began, "check": checked - loaded, "load again, no change": again - checked}


if __name__ == "__main__":
    print(measure())
