"""What a job waits for and what waits for it, as trees."""

from functools import partial

from apsis_nb.views.dependencies import Link, after, before, grow, job_ids, tree_html
from tests.views.test_jobs_table import fault, known

NO_OP = {"program": {"type": "no-op"}}


def waits_for(*job_ids):
    return {**NO_OP, "condition": [{"type": "dependency", "job_id": i} for i in job_ids]}


JOBS = known(
    load=NO_OP,
    clean=waits_for("load", "gone"),
    report=waits_for("clean", "wrong"),
    chart={**NO_OP, "action": {"type": "schedule", "job_id": "mail", "if": {"states": "success"}}},
    mail=NO_OP,
    errors=[fault("wrong")],
)


def html(direction, job_id, last=None):
    nodes, omitted = grow(partial(direction, JOBS), job_id)
    return tree_html(nodes, JOBS, last or {}, omitted)


def test_conditions_and_actions_are_read_both_ways():
    assert before(JOBS, "clean") == [
        Link("load", "has to end in success"),
        Link("gone", "has to end in success"),
    ]
    assert after(JOBS, "load") == [Link("clean", "waits for it")]
    assert before(JOBS, "mail") == [Link("chart", "starts it after success")]
    assert after(JOBS, "chart") == [Link("mail", "is started after success")]


def test_the_tree_goes_on_to_the_roots():
    nodes, omitted = grow(partial(before, JOBS), "report")
    assert (job_ids(nodes), omitted) == ({"clean", "load", "gone", "wrong"}, 0)
    nodes, _ = grow(partial(after, JOBS), "load")
    assert job_ids(nodes) == {"clean", "report"}


def test_jobs_that_are_missing_or_broken_are_named_and_others_show_their_last_run():
    shown = html(before, "report", {"load": {"last_run_id": "r7", "last_state": "failure"}})
    assert "no such job" in shown
    assert "broken file" in shown
    assert "run?id=r7" in shown
    assert "failure" in shown


def test_jobs_that_wait_for_each_other_end_somewhere():
    loop = known(a=waits_for("b"), b=waits_for("a"))
    nodes, _ = grow(partial(before, loop), "a")
    assert "(see above)" in tree_html(nodes, loop, {}, 0)


def test_a_job_of_which_very_many_depend_says_how_many_more():
    many = known(root=NO_OP, **{f"job{n}": waits_for("root") for n in range(100)})
    nodes, omitted = grow(partial(after, many), "root")
    assert (len(nodes), omitted) == (60, 40)
    assert "and 40 more" in tree_html(nodes, many, {}, omitted)
