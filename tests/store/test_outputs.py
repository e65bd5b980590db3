"""Outputs are kept as they were, in part and whole, and a crash shows nobody half of one."""

from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apsis_nb.core.errors import NotFound
from apsis_nb.store import OutputRow, Store, StoreError
from apsis_nb.store.outputs import BLOCK, content_type
from tests.store.made import Clock, a_run, ended, saved, whole_life


def keep(store: Store, run_id: int, files: dict[str, bytes], folder: Path) -> "Future[list[OutputRow]]":
    """Pack what a program wrote."""
    given = []
    for name, data in files.items():
        (folder / name).write_bytes(data)
        given.append((name, folder / name))
    return store.pack(run_id, given)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=40),
    st.sampled_from([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]),
    st.integers(-4 * BLOCK, 4 * BLOCK),
    st.integers(0, 2 * BLOCK),
)
def test_any_piece_of_an_output_is_what_the_program_wrote(
    store: Store, tmp_path: Path, seed: bytes, size: int, offset: int, limit: int
) -> None:
    data = ((seed or b"ab") * (size + 1))[:size]
    run_id, _ = store.reserve_ids(1)
    rows = keep(store, run_id, {"output": data}, tmp_path).result(10)
    store.save(whole_life(a_run(run_id)), {run_id: rows}).result(10)
    begin = max(0, size + offset) if offset < 0 else offset
    assert store.read_output(run_id, offset=offset, limit=limit) == (data[begin : begin + limit], size)
    assert store.outputs(run_id) == [{"name": "output", "length": size, "content_type": "text/plain"}]


def test_nobody_is_led_elsewhere_by_a_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError, match="symbolic links"):
        store.pack(1, [("link", tmp_path / "link")]).result(10)


def test_many_outputs_at_once_are_told_apart(store: Store, tmp_path: Path) -> None:
    wanted = {n: {"output": b"%d\n" % n * n, "table.csv": b"a,b\n%d,1\n" % n} for n in range(1, 30)}
    packed = {}
    for n, files in wanted.items():
        (tmp_path / str(n)).mkdir()
        packed[n] = keep(store, n, files, tmp_path / str(n))
    for n, future in packed.items():
        store.save(whole_life(a_run(n)), {n: future.result(10)})
    store.save(()).result(10)
    for n, files in wanted.items():
        for name, data in files.items():
            assert store.read_output(n, name) == (data, len(data))
        assert [o["content_type"] for o in store.outputs(n)] == ["text/plain", "text/csv"]


def test_a_pack_file_belongs_to_its_day(store: Store, clock: Clock, path: Path, tmp_path: Path) -> None:
    keep(store, 1, {"output": b"one"}, tmp_path).result(10)
    clock.now = clock.now.replace(day=3)
    keep(store, 2, {"output": b"two"}, tmp_path).result(10)
    packs = sorted(path.with_suffix(".outputs").iterdir())
    assert [pack.name for pack in packs] == ["2026-03-02.pack", "2026-03-03.pack"]
    assert {pack.stat().st_mode & 0o777 for pack in packs} == {0o600}


def test_an_output_without_a_committed_row_is_seen_by_nobody(path: Path, tmp_path: Path) -> None:
    """The cut between pack and commit: all is done again. That between commit and forget: once more."""
    with Store.open(path, now=Clock()) as store:
        store.save([saved(a_run(1), is_new=True)]).result(10)
        keep(store, 1, {"output": b"first try"}, tmp_path).result(10)
    for attempt in (b"second try", b"third try"):
        with Store.open(path, now=Clock()) as store:
            rows = keep(store, 1, {"output": attempt}, tmp_path).result(10)
            assert store.outputs(1) == ([] if attempt == b"second try" else store.outputs(1))
            end = [saved(ended(a_run(1)))] if store.restore()[0] else []
            store.save(end, {1: rows}).result(10)
            assert store.read_output(1) == (attempt, len(attempt))
            assert len(store.outputs(1)) == 1
            assert len(store.runs()) == 1


def test_what_is_not_there_is_named(store: Store, path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"run r7 has no output chart\.png"):
        store.read_output(7, "chart.png")
    with pytest.raises(StoreError, match=r"outputs cannot be kept.*absent"):
        store.pack(1, [("output", tmp_path / "absent")]).result(10)
    rows = keep(store, 1, {"output": b"x" * 10}, tmp_path).result(10)
    store.save(whole_life(a_run(1)), {1: rows}).result(10)
    (pack,) = path.with_suffix(".outputs").iterdir()
    pack.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"output cannot be read from 2026-03-02\.pack"):
        store.read_output(1)
    pack.unlink()
    with pytest.raises(StoreError, match=r"output cannot be read from 2026-03-02\.pack"):
        store.read_output(1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("output", "text/plain"),
        ("run.log", "text/plain"),
        ("page.HTML", "text/html"),
        ("data.parquet", "application/vnd.apache.parquet"),
        ("core.1234", "application/octet-stream"),
    ],
)
def test_the_media_type_follows_from_the_name(name: str, kind: str) -> None:
    assert content_type(name) == kind
