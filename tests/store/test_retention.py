"""Outputs that are not to be kept go, those alone, and a crash in between harms nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apsis_nb.core.errors import NotFound
from apsis_nb.core.retention import FOREVER, Keep, KeepRules
from apsis_nb.store import Store, StoreError, retention
from apsis_nb.store.retention import joined
from apsis_nb.store.rows import DroppedRow
from apsis_nb.store.writer import Work
from tests.engine.serving import wait_for
from tests.store.made import NOON, Clock, a_run, saved, whole_life
from tests.store.test_outputs import keep

DAY = timedelta(days=1)


def finish(
    store: Store, folder: Path, run_id: int, data: bytes, job_id: str = "a", ago: timedelta = timedelta()
) -> None:
    """A run that ended some time before noon, and what it wrote."""
    at = NOON - ago - timedelta(seconds=10)
    rows = keep(store, run_id, {"output": data}, folder).result(10)
    run = a_run(run_id, job_id, scheduled_at=at, nominal_at=at, state_at=at)
    store.save(whole_life(run), {run_id: rows}).result(10)


def rules(default: Keep = FOREVER, **jobs: Keep) -> KeepRules:
    return KeepRules(default=default, of_jobs=jobs)


def amounts(store: Store, what: KeepRules, now: datetime = NOON) -> dict[str, int]:
    """The runs of each job whose outputs would go."""
    return {amount.job_id: amount.runs for amount in store.retention.plan(what, now)}


def is_kept(store: Store, run_id: int) -> bool:
    return bool(store.outputs(run_id))


bounds = st.builds(
    Keep,
    age_s=st.none() | st.sampled_from([3600.0, 86400.0, 3 * 86400.0]),
    size_b=st.none() | st.integers(1, 60),
    count=st.none() | st.integers(1, 4),
)
_jobs = count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5), max_size=6), bounds, st.none() | bounds)
def test_of_each_job_those_beyond_a_bound_go_the_oldest_first(
    store: Store, tmp_path: Path, days: list[int], default: Keep, own: Keep | None
) -> None:
    job_id, stored = f"job{next(_jobs)}", {}
    for ago in days:
        run_id, _ = store.reserve_ids(1)
        finish(store, tmp_path, run_id, b"x" * (ago + 1), job_id, ago * DAY)
        stored[run_id] = (ago, store._output_rows(run_id)[0].stored)
    holds = default if own is None else own
    gone, total = set(), 0
    for nth, (run_id, (ago, size)) in enumerate(
        sorted(stored.items(), key=lambda item: (item[1][0], -item[0])), 1
    ):
        total += size
        is_old = holds.age_s is not None and ago * 86400 > holds.age_s
        is_too_many = holds.count is not None and nth > holds.count
        is_too_much = holds.size_b is not None and nth > 1 and total > holds.size_b
        if is_old or is_too_many or is_too_much:
            gone.add(run_id)
    what = rules(default, **({} if own is None else {job_id: own}))
    assert amounts(store, what).get(job_id, 0) == len(gone)

    others = rules(FOREVER, **{job_id: holds})  # what other examples left stays
    done = store.retention.carry_out(others, NOON)

    assert sum(amount.runs for amount in done) == len(gone)
    assert {run_id for run_id in stored if not is_kept(store, run_id)} == gone
    assert store.retention.plan(others, NOON) == []


def test_a_run_says_that_its_outputs_were_dropped_and_keeps_all_else(store: Store, tmp_path: Path) -> None:
    finish(store, tmp_path, 1, b"old", ago=2 * DAY)
    finish(store, tmp_path, 2, b"new")
    before = store.run(1)

    (done,) = store.retention.carry_out(rules(Keep(age_s=86400)), NOON)

    assert (done.job_id, done.runs, done.outputs, done.bytes) == ("a", 1, 1, 3 + 8 + 4)
    with pytest.raises(NotFound, match="the outputs of run r1 were dropped: older than 1d"):
        store.read_output(1)
    dropped = store.dropped(1)
    assert dropped is not None
    assert abs(dropped["at"] - NOON) < timedelta(seconds=1)
    assert store.log(1)[-1] == {
        "ts": dropped["at"],
        "state": "success",
        "message": "its outputs were dropped: older than 1d",
    }
    assert store.run(1) == before
    assert store.read_output(2) == (b"new", 3)
    assert store.dropped(2) is None
    told = store.sql("SELECT run_id, length, dropped_at IS NULL AS kept FROM outputs ORDER BY 1").to_pylist()
    assert told == [{"run_id": 1, "length": 3, "kept": False}, {"run_id": 2, "length": 3, "kept": True}]


def test_the_room_is_given_back_and_what_lies_beside_it_stays(
    store: Store, path: Path, tmp_path: Path
) -> None:
    written = {n: os.urandom(300_000) for n in range(1, 9)}
    for n, data in written.items():
        finish(store, tmp_path, n, data, "ab"[n % 2])
    (pack,) = path.with_suffix(".outputs").iterdir()
    before = pack.stat()

    (done,) = store.retention.carry_out(rules(a=Keep(count=1)), NOON)

    assert done.bytes > 3 * 300_000
    after = pack.stat()
    assert after.st_size == before.st_size
    assert (before.st_blocks - after.st_blocks) * 512 > 3 * 290_000
    kept = [n for n in written if is_kept(store, n)]
    assert kept == [1, 3, 5, 7, 8]
    assert all(store.read_output(n, limit=1 << 20) == (written[n], 300_000) for n in kept)


def test_a_pack_goes_when_nothing_of_it_is_needed_and_no_more_can_come(
    store: Store, path: Path, clock: Clock, tmp_path: Path
) -> None:
    finish(store, tmp_path, 1, b"one")
    clock.now += 5 * DAY
    finish(store, tmp_path, 2, b"two")
    packs = path.with_suffix(".outputs")
    assert len(list(packs.iterdir())) == 2

    store.retention.carry_out(rules(Keep(age_s=1)), clock.now)

    assert [pack.name for pack in packs.iterdir()] == ["2026-03-07.pack"]
    assert not is_kept(store, 1)
    assert not is_kept(store, 2)
    finish(store, tmp_path, 3, b"three")
    assert store.read_output(3) == (b"three", 5)


def test_nothing_of_a_live_run_goes(store: Store, tmp_path: Path) -> None:
    store.save([saved(a_run(1), is_new=True)]).result(10)
    rows = keep(store, 1, {"output": b"kept"}, tmp_path).result(10)

    assert store.retention.carry_out(rules(Keep(age_s=1, count=1, size_b=1)), NOON + 9 * DAY) == []

    store.save(whole_life(a_run(1))[1:], {1: rows}).result(10)
    assert store.read_output(1) == (b"kept", 4)


def test_what_was_given_up_but_not_freed_is_freed_by_the_next_store(path: Path, tmp_path: Path) -> None:
    with Store.open(path, now=Clock()) as store:
        finish(store, tmp_path, 1, os.urandom(100_000))
        store._writer.submit(Work(dropped=[DroppedRow(run_id=1, reason="x")], noted_at=NOON)).result()
        (pack,) = path.with_suffix(".outputs").iterdir()
        before = pack.stat().st_blocks
    with Store.open(path, now=Clock()) as store:
        assert store.retention.carry_out(rules(), NOON) == []
        assert pack.stat().st_blocks < before


CARRY_OUT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from apsis_nb.core.retention import Keep, KeepRules
from apsis_nb.store import Store, retention
retention.BATCH = 10  # many commits, so that it is cut between two of them
store = Store.open(Path(sys.argv[1]))
store.retention.carry_out(KeepRules(default=Keep(count=1), of_jobs={}), datetime(2026, 3, 2, 12, tzinfo=UTC))
"""


def test_a_kill_in_the_middle_loses_nothing_that_is_to_be_kept(path: Path, tmp_path: Path) -> None:
    written: Mapping[int, bytes] = {n: b"%d " % n * 2000 for n in range(1, 401)}
    with Store.open(path, now=Clock()) as store:
        for n, data in written.items():
            finish(store, tmp_path, n, data)
    journal = path.with_name(f"{path.name}.wal")
    child = subprocess.Popen([sys.executable, "-c", CARRY_OUT, str(path)])
    try:
        wait_for("it is at it", lambda: journal.exists() and journal.stat().st_size > 4000)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    with Store.open(path, now=Clock()) as store:
        gone = [n for n in written if store.dropped(n)]
        assert 0 < len(gone) < 399
        for n, data in written.items():
            if n not in gone:
                assert store.read_output(n) == (data, len(data))
        (left,) = store.retention.carry_out(rules(Keep(count=1)), NOON)
        assert left.runs == 399 - len(gone)
        assert [n for n in written if is_kept(store, n)] == [400]
        assert store.sql("SELECT count(*) AS n FROM outputs").to_pylist() == [{"n": 400}]


def test_a_store_that_is_closed_gives_up_nothing_more(path: Path, tmp_path: Path) -> None:
    with Store.open(path, now=Clock()) as store:
        finish(store, tmp_path, 1, b"x", ago=2 * DAY)
    assert store.retention.carry_out(rules(Keep(age_s=1)), NOON) == []


def test_neighbours_become_one_hole_and_small_ones_are_left() -> None:
    pieces = [(0, 3000), (3000, 3000), (9000, 100), (9100, 5000), (20_000, 4095)]
    assert list(joined(pieces)) == [(0, 6000), (9000, 5100)]
    assert list(joined([])) == []


def test_closing_the_store_ends_what_is_under_way_after_its_batch(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    with Store.open(path, now=Clock()) as store:
        for n in range(1, 101):
            finish(store, tmp_path, n, b"x")
        with ThreadPoolExecutor() as pool:
            done = pool.submit(store.retention.carry_out, rules(Keep(count=1)), NOON)
            wait_for("it is at it", lambda: store.dropped(1))
            store.close()
            told = done.result(30)
    with pytest.raises(StoreError, match="the store is closed"):
        store.run(1)
    with Store.open(path, now=Clock()) as store:
        gone = [n for n in range(1, 101) if store.dropped(n)]
        assert 0 < len(gone) < 99
        assert [amount.runs for amount in told] == [len(gone)]
