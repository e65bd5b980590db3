"""Whatever a run goes through, the store gives back the very same."""

import itertools
import json
from datetime import UTC
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apsis_nb.core.instructions import SaveRun
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State
from apsis_nb.store import Store
from apsis_nb.store.rows import log_row, made_run, moved_on, program_id_of, program_text
from tests.store.made import NOON, Clock, a_run, lives, whole_life, with_ids

#: A life is large: fewer of them than of other cases.
FEWER = min(50, settings().max_examples)


@settings(max_examples=FEWER)
@given(lives())
def test_a_run_is_rebuilt_from_the_rows_of_its_journal(life: list[SaveRun]) -> None:
    rebuilt, before = None, None
    for save in life:
        row = log_row(save, before, NOON, 7)
        if rebuilt is None:
            assert program_id_of(row) == 7
            rebuilt = made_run(row, json.loads(program_text(save.run.program)))
        elif not save.run.is_finished:
            rebuilt = moved_on(rebuilt, row)
        if not save.run.is_finished:
            assert rebuilt == save.run
        before = save.run


@settings(max_examples=FEWER)
@given(lives())
def test_a_transition_has_its_own_time_and_a_note_that_when_it_was_noted(life: list[SaveRun]) -> None:
    before: Run | None = None
    for save in life:
        _, ts, state, message, _ = log_row(save, before, NOON, 7)
        assert ts.replace(tzinfo=UTC) == (save.run.state_at if save.is_transition else NOON)
        assert (state, message) == (save.run.state.value, save.message)
        before = save.run


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lives(), min_size=1, max_size=8))
def test_an_opened_file_knows_every_run_as_it_was_saved_last(
    tmp_path: Path, drawn: list[list[SaveRun]]
) -> None:
    path = tmp_path / f"{next(_names)}.duckdb"
    ids = itertools.count(1)
    drawn = list(with_ids(drawn, lambda: next(ids)))
    with Store.open(path, threads=1, now=Clock()) as store:
        for saves in itertools.zip_longest(*drawn):  # the lives go on side by side
            store.save([save for save in saves if save is not None]).result(10)
    live = [life[-1].run for life in drawn if not life[-1].run.is_finished]
    with Store.open(path, threads=1, now=Clock()) as store:
        assert store.restore()[0] == live
        assert store.damaged == []
        for life in drawn:
            made, last = life[0].run, life[-1].run
            assert store.original(made.run_id) == made
            told = store.log(made.run_id)
            assert [(row["state"], row["message"]) for row in told] == [
                (save.run.state.value, save.message) for save in life
            ]
            facts = store.run(made.run_id)
            assert facts is not None
            assert facts["args"] == made.args
            assert facts["labels"] == list(made.labels)
            assert facts["program"] == json.loads(program_text(made.program))
            assert (facts["state"], facts["message"]) == (last.state.value, last.message)
            assert (facts["nominal_at"], facts["finished_at"]) == (made.nominal_at, last.finished_at)


_names = itertools.count()


def test_a_half_character_harms_neither_its_own_run_nor_others(tmp_path: Path) -> None:
    strange = a_run(1, args={"file": "caf\ud800"}, labels=("\udfff",), message="made of \udc80")
    with Store.open(tmp_path / "runs.duckdb", threads=1, now=Clock()) as store:
        store.save([*whole_life(strange, State.FAILURE, message="no \udc80"), *whole_life(a_run(2))]).result(
            10
        )
        assert store.run(1)["message"] == "no ?"  # type: ignore[index]
        assert store.run(1)["args"] == {"file": "caf?"}  # type: ignore[index]
        assert store.run(2)["state"] == "success"  # type: ignore[index]
