"""Takes away old files of the demo."""
# ruff: noqa: T201  (what a program of a job prints is its output)

import os
import time
from datetime import timedelta
from pathlib import Path


def clean(what: str, older_than: timedelta, dry_run: bool) -> dict[str, int]:
    """Remove files of a folder that are older than that; how many there were, and their bytes."""
    before = time.time() - older_than.total_seconds()
    files = [file for file in sorted((Path(os.environ["DEMO_DATA"]) / what).glob("*")) if file.is_file()]
    old = [file for file in files if file.stat().st_mtime < before]
    size = sum(file.stat().st_size for file in old)
    for file in old:
        print(f"{'would remove' if dry_run else 'removed'} {file.name}")
        if not dry_run:
            file.unlink()
    print(f"{len(old)} of {len(files)} files in {what} are older than {older_than}")
    return {"files": len(old), "bytes": size}
