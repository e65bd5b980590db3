"""A disk without room: nothing is lost, the server says how it is, and goes on when there is room again."""

import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from apsis_nb.store import Store, StoreError, StoreFull, files
from tests.conftest import needs
from tests.engine.serving import Server, wait_for
from tests.store.archived import OLD, make_history, rows
from tests.store.made import NOON, Clock, a_run, whole_life

DISK_MB = 48


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, and a small one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(
        [needs("mount"), "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run([needs("umount"), "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for piece_b in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"x" * piece_b):
                    pass
            except OSError:
                continue
    return filler


def test_nothing_is_lost_and_it_goes_on_when_there_is_room(disk: Path, tmp_path: Path):
    book, go, jobs = tmp_path / "book", tmp_path / "go", tmp_path / "jobs"
    jobs.mkdir()
    note = f"echo start $APSIS_RUN_ID >> {book}"
    (jobs / "tick.yaml").write_text(f"schedule: {{type: interval, interval: 1}}\nprogram: {note}\n")
    held = f"{note}; seq 100000; until [ -e {go} ]; do sleep 0.05; done; exit 3"
    (jobs / "held.yaml").write_text(f'program: "{held}"\n')
    server = Server(jobs, disk / "state")
    server.log = tmp_path / "log"
    server.start()

    def alive() -> dict[str, object]:
        facts: dict[str, object] = server.get("/api/v1/alive").json()
        return facts

    def runs(**params: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = server.get("/api/v1/runs", limit="1000", **params).json()["runs"]
        return found

    (made,) = server.post("/api/v1/runs", {"job_id": "held"}).json()["runs"]
    name = made["run_id"]
    wait_for("it runs", lambda: [r for r in runs(state="running") if r["run_id"] == name])
    wait_for("others were run", lambda: len(runs(state="success")) >= 2)
    boot_id = alive()["boot_id"]

    filler = fill(disk)
    wait_for("the server knows", lambda: not alive()["alive"])
    assert "space" in str(alive()["broken"])
    go.touch()  # it ends while there is no room to write that down
    refused = server.post("/api/v1/runs", {"job_id": "tick"})
    assert refused.status_code == 409, refused.text
    assert "out of order" in refused.json()["detail"]
    wait_for("the log says what is needed", lambda: "goes on when there are" in server.log.read_text())

    filler.unlink()
    wait_for("it serves again", lambda: server.answers() and alive()["boot_id"] != boot_id)
    wait_for("the held one ends", lambda: [r for r in runs(state="failure") if r["run_id"] == name])
    (ended,) = runs(state="failure")
    assert ended["return_code"] == 3
    output = server.get(f"/api/v1/runs/{name}/outputs/output").text
    assert output == "".join(f"{n}\n" for n in range(1, 100_001))
    before = len(runs(state="success"))
    wait_for("it goes on", lambda: len(runs(state="success")) >= before + 2)
    (jobs / "tick.yaml").unlink()
    server.post("/api/v1/jobs/reload")
    wait_for("every run ends", lambda: alive()["live_runs"] == 0)
    finished = {str(r["run_id"]) for r in runs() if r["state"] in {"success", "failure"}}
    assert server.stop() == 0

    started = Counter(line.split()[1] for line in book.read_text().splitlines())
    assert [run for run, n in started.items() if n > 1] == [], "a program ran twice"
    assert set(started) == finished, "a run was lost"
    assert "Traceback" not in server.log.read_text()


def test_it_can_be_stopped_without_room_and_the_next_one_goes_on(disk: Path, tmp_path: Path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "tick.yaml").write_text("schedule: {type: interval, interval: 1}\nprogram: 'true'\n")
    server = Server(jobs, disk / "state")
    server.log = tmp_path / "log"
    server.start()
    filler = fill(disk)
    wait_for("the server knows", lambda: not server.get("/api/v1/alive").json()["alive"])

    assert server.stop() == 0

    filler.unlink()
    server.start()
    wait_for("it runs", lambda: server.get("/api/v1/runs", state="success").json()["runs"])
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_month_that_finds_no_room_in_the_archive_stays(disk: Path, monkeypatch: pytest.MonkeyPatch):
    at = NOON.replace(year=2025)
    with Store.open(disk / "runs.duckdb", threads=1, now=Clock()) as store:
        make_history(store, disk)
        for n in range(10_000, 10_400):
            words = random.Random(n).randbytes(4_000).hex()
            run = a_run(n, scheduled_at=at, nominal_at=at, state_at=at, message=words)
            store.save(whole_life(run, message=words))
        store.save(()).result(10)
        store.checkpoint()
        held, told = rows(store), store.runs(limit=10_000)
        with pytest.raises(StoreFull, match="MB free, and this needs"):
            store.archiver.carry_out(OLD, NOON)
        # With nothing held back there is room when it is begun, and none in the middle.
        monkeypatch.setattr(files, "RESERVE_B", -(1 << 40))
        filler = fill(disk)
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - (1 << 20))

        with pytest.raises(StoreError, match=r"2025-03 was not archived, and stays in the database: .*space"):
            store.archiver.carry_out(OLD, NOON)

        assert rows(store) == held
        assert list((disk / "archive").iterdir()) == []
        assert store.health()["ok"]
        filler.unlink()
        assert [month.folder for month in store.archiver.carry_out(OLD, NOON)] == [
            "2025-03", "2025-12", "2026-01"
        ]  # fmt: skip
        assert store.runs(limit=10_000) == told


def test_a_checkpoint_that_finds_no_room_loses_nothing(disk: Path):
    path = disk / "runs.duckdb"
    kept: set[int] = set()

    def save(store: Store, ids: range) -> None:
        words = {n: random.Random(n).randbytes(4_000).hex() for n in ids}
        promised = {n: store.save(whole_life(a_run(n, message=w), message=w)) for n, w in words.items()}
        for n, done in promised.items():
            done.result(10)
            kept.add(n)

    store = Store.open(path, threads=1, now=Clock())
    save(store, range(1, 601))  # in the journal: the checkpoint of every few seconds has it to move
    filler = fill(disk)
    with pytest.raises(StoreError, match="space"):
        store.checkpoint()
    with suppress(StoreError):  # what is promised now must be there, too
        save(store, range(601, 610))
    told = store.health()["error"]
    store.close()
    with pytest.raises(StoreError, match="space"):
        Store.open(path, threads=1, now=Clock())

    filler.unlink()
    with Store.open(path, threads=1, now=Clock()) as again:
        found = {facts["run_id"]: facts for facts in again.runs(limit=10_000)}
        assert kept <= found.keys() <= set(range(1, 610))
        assert all(len(again.log(n)) == 2 for n in found)
        save(again, range(700, 710))
        again.checkpoint()
        assert again.health()["ok"]
    assert told is None or "space" in told
