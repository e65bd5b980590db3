"""The frames have the columns and dtypes that their documentation says."""

from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pytest

from apsis_nb import frames
from apsis_nb.core.states import State
from apsis_nb.frames import FRAMES, RUNS, Column, expand_args, to_frame
from apsis_nb.store import HISTORY, MetaRow, Store
from tests.store.made import NOON, a_run, ended, saved


@pytest.fixture
def filled(store: Store) -> Store:
    made = [a_run(n, state_at=NOON, args={"n": str(n)}) for n in (1, 2, 3, 4)]
    store.save([saved(run, is_new=True) for run in made])
    store.save([saved(ended(made[3], return_code=0))])
    store.save([saved(ended(made[0], State.FAILURE, return_code=-9)), saved(ended(made[1], State.SKIPPED))])
    store.save((), meta={4: MetaRow(cpu_s=1.0)}).result(10)
    return store


@pytest.mark.parametrize("name", sorted(FRAMES))
@pytest.mark.parametrize("is_empty", [True, False])
def test_each_query_gives_the_frame_of_its_name(filled: Store, name: str, is_empty: bool) -> None:
    since = NOON.replace(year=2025 if is_empty else 2026, month=1)
    window: dict[str, object] = {
        "since": since,
        "until": since.replace(month=12),
        "period": timedelta(days=365),
    }
    if name == "estimates" and not is_empty:
        run = a_run(5).moved(State.STARTING, NOON).moved(State.RUNNING, NOON)
        filled.save([saved(a_run(5), is_new=True), saved(run)]).result(10)
    if name == "concurrency":
        window["every"] = timedelta(days=1)
        is_empty = False  # a row a piece, whether something runs or not
    table = filled.arrow(name, **{key: value for key, value in window.items() if key in HISTORY[name]})
    frame = to_frame(table, FRAMES[name])
    assert frame.empty == is_empty
    assert list(frame.columns) == [column.name for column in FRAMES[name]]
    assert {c.name: str(frame[c.name].dtype) for c in FRAMES[name]} == {c.name: c.dtype for c in FRAMES[name]}
    assert name in HISTORY


def test_a_run_has_its_name_its_aware_times_and_every_state_as_category(filled: Store) -> None:
    frame = to_frame(filled.arrow("runs", since=NOON, until=NOON.replace(year=2027)), RUNS)
    assert list(frame["run_id"]) == ["r4", "r3", "r2", "r1"]
    assert list(frame["state"]) == ["success", "scheduled", "skipped", "failure"]
    assert list(frame["state"].cat.categories) == [state.value for state in State]
    assert frame["scheduled_at"][0] == pd.Timestamp(NOON)
    assert frame["return_code"].isna().tolist() == [False, True, True, False]
    assert frame["return_code"][3] == -9
    assert frame["elapsed_s"].isna().tolist() == [False, True, True, False]


def test_each_arg_becomes_a_column() -> None:
    frame = pd.DataFrame({"args": ['{"a":"1"}', '{"a":"2","b":"å"}', "{}", '{"a":"1"}']}, index=[5, 6, 7, 8])
    expanded = expand_args(frame)
    assert list(expanded.columns) == ["args", "arg_a", "arg_b"]
    assert expanded["arg_a"].tolist()[:2] == ["1", "2"]
    assert expanded["arg_a"].isna().tolist() == [False, False, True, False]
    assert expanded.loc[6, "arg_b"] == "å"
    assert str(expanded["arg_b"].dtype) == "str"
    assert list(expanded.index) == [5, 6, 7, 8]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="no column state; it has run_id"):
        to_frame(pa.table({"run_id": [1]}), (Column("run_id", "run", ""), Column("state", "state", "")))


def test_further_columns_follow_and_their_times_are_aware() -> None:
    table = pa.table({"n": [1], "at": pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us"))})
    assert to_frame(table, ())["at"][0] == pd.Timestamp(NOON)
    frame = to_frame(table, (Column("at", "time", ""),))
    assert list(frame.columns) == ["at", "n"]
    assert len(to_frame(table.slice(0, 0), ())) == 0


def test_a_table_may_name_two_columns_alike_when_a_client_wrote_the_query() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    assert to_frame(table, ()).to_numpy().tolist() == [[1, 2]]


def test_every_column_is_explained() -> None:
    for columns in FRAMES.values():
        assert all(column.doc for column in columns)
        assert len({column.name for column in columns}) == len(columns)
    assert frames.CATEGORIES["state"] == [state.value for state in State]
