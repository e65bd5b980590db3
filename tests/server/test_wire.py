"""The forms that travel: what goes in on one side comes out on the other."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.programs import NoOp, Process
from apsis_nb.core.runs import Instance, Origin, Run
from apsis_nb.core.states import State
from apsis_nb.wire import (
    RUN_FACTS,
    arrow_stream,
    facts_of_row,
    read_arrow,
    run_facts,
    to_json,
    to_json_columns,
    to_json_rows,
)

NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)


def run(**facts: object) -> Run:
    made = {
        "run_id": 12,
        "inst": Instance.of("sales/report", {"date": "2026-01-31"}),
        "program": NoOp(),
        "origin": Origin.SCHEDULE,
        "scheduled_at": NINE,
        "nominal_at": NINE,
        "state_at": NINE,
    }
    return Run(**(made | facts))


def test_the_facts_of_a_run_are_those_of_the_interface_and_json() -> None:
    facts = run_facts(run(labels=("daily",), rerun_of=7, by="ann"), NINE)
    assert tuple(facts) == RUN_FACTS
    assert json.loads(to_json(facts)) == facts
    assert (facts["run_id"], facts["rerun_of"]) == ("r12", "r7")
    assert facts["scheduled_at"] == "2026-01-31T09:00:00Z"
    assert facts["args"] == {"date": "2026-01-31"}
    assert facts["labels"] == ["daily"]
    assert facts["program"] == {"type": "no-op", "duration": 0.0, "success": True}


def test_a_run_that_waits_is_late_up_to_now() -> None:
    facts = run_facts(run(), NINE + timedelta(seconds=90))
    assert (facts["late"], facts["late_s"]) == (True, 90.0)


def test_only_a_run_of_a_schedule_can_be_late() -> None:
    facts = run_facts(run(nominal_at=None, origin=Origin.MANUAL), NINE + timedelta(hours=1))
    assert (facts["late"], facts["late_s"]) == (False, None)


def test_the_time_of_a_running_program_goes_on() -> None:
    running = run(state=State.RUNNING, started_at=NINE)
    assert run_facts(running, NINE + timedelta(seconds=2.5))["elapsed_s"] == 2.5
    assert run_facts(run(), NINE)["elapsed_s"] is None


def test_a_finished_run_took_what_its_own_clock_says() -> None:
    done = run(state=State.SUCCESS, started_at=NINE, finished_at=NINE, elapsed_s=4.0)
    assert run_facts(done, NINE + timedelta(hours=1))["elapsed_s"] == 4.0


def test_a_row_of_the_store_has_the_same_form_as_a_run_in_memory() -> None:
    made = run(program=Process(command="true"), labels=("a",), rerun_of=3)
    facts = run_facts(made, NINE)
    times = {name: datetime.fromisoformat(facts[name]) for name in ("nominal_at", "scheduled_at")}
    assert facts_of_row(facts | times | {"run_id": 12, "rerun_of": 3}) == facts


def test_args_of_a_row_may_be_json_text() -> None:
    facts = facts_of_row({"run_id": 1, "args": '{"n":"1"}', "labels": "[]"})
    assert (facts["args"], facts["labels"], facts["program"]) == ({"n": "1"}, [], None)


def test_a_table_comes_back_as_it_went() -> None:
    states = pa.array(["success", "failure", None]).dictionary_encode()
    table = pa.table({"n": [1, 2, None], "at": pa.array([NINE] * 3), "state": states})
    assert read_arrow(b"".join(arrow_stream(table))).equals(table)


def test_a_reader_is_sent_batch_by_batch() -> None:
    batches = [pa.record_batch({"n": list(range(i, i + 3))}) for i in (0, 3)]
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    pieces = list(arrow_stream(reader))
    assert len(pieces) == 3  # each batch as soon as it is there, then the end
    for data in (b"".join(pieces), iter(pieces), (bytes([b]) for b in b"".join(pieces))):
        assert read_arrow(data).column("n").to_pylist() == list(range(6))


def test_an_empty_table_keeps_its_columns() -> None:
    table = pa.table({"n": pa.array([], pa.int64())})
    assert read_arrow(b"".join(arrow_stream(table))).schema == table.schema


def test_a_large_table_is_small_on_the_wire() -> None:
    table = pa.table({"job_id": ["sales/report"] * 200_000})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert len(b"".join(arrow_stream(table))) < len(sink.getvalue()) / 4


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"{}", lambda b: b[: len(b) // 2]])
def test_what_is_no_arrow_stream_is_told_so(damage) -> None:  # type: ignore[no-untyped-def]
    data = b"".join(arrow_stream(pa.table({"n": list(range(1000))})))
    with pytest.raises(ValueError, match="not an Arrow stream"):
        read_arrow(damage(data))
    with pytest.raises(ValueError, match="not an Arrow stream"):
        read_arrow([damage(data)])


def test_rows_are_json_values() -> None:
    table = pa.table(
        {
            "at": pa.array([datetime(2026, 1, 31, 9)], pa.timestamp("us")),  # noqa: DTZ001  (as the store has it)
            "day": pa.array([date(2026, 1, 31)]),
            "took": pa.array([timedelta(seconds=1.5)], pa.duration("us")),
            "mean": pa.array([float("nan")]),
            "total": pa.array([Decimal(12)], pa.decimal128(38, 0)),
            "rate": pa.array([Decimal("0.5")], pa.decimal128(4, 2)),
            "raw": pa.array([b"\x00\xff"]),
            "many": pa.array([[1, None]]),
            "one": pa.array([{"a": True}]),
        }
    )
    (row,) = to_json_rows(table)
    assert row == {
        "at": "2026-01-31T09:00:00Z",
        "day": "2026-01-31",
        "took": 1.5,
        "mean": None,
        "total": 12,
        "rate": 0.5,
        "raw": "00ff",
        "many": [1, None],
        "one": {"a": True},
    }
    to_json(row)


def test_two_columns_of_one_name_are_both_told() -> None:
    table = pa.table([[1], [2]], names=["n", "n"])
    assert to_json_rows(table) == [{"n": 1, "n_2": 2}]
    assert [c["name"] for c in to_json_columns(table)] == ["n", "n_2"]


def test_an_enum_is_told_as_what_it_holds() -> None:
    table = pa.table({"state": pa.array(["success"]).dictionary_encode(), "n": [1]})
    assert to_json_columns(table) == [
        {"name": "state", "type": "string"},
        {"name": "n", "type": "int64"},
    ]


@given(
    st.lists(
        st.fixed_dictionaries({"n": st.none() | st.integers(-(2**62), 2**62), "t": st.none() | st.text()})
    )
)
def test_rows_say_what_the_table_says(rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows, schema=pa.schema([("n", pa.int64()), ("t", pa.string())]))
    assert json.loads(to_json(to_json_rows(table))) == rows
    assert read_arrow(b"".join(arrow_stream(table))).to_pylist() == rows
