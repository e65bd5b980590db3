"""Jobs as a graph: what joins them, and what each box says."""

from apsis_nb.views.workflow import MOST_NODES, drawn, graph_of, words_of
from tests.views.test_dependencies import JOBS, NO_OP, waits_for
from tests.views.test_jobs_table import known


def test_the_graph_has_what_was_chosen_and_what_is_beside_it():
    graph = graph_of(JOBS, {"clean", "mail"})

    assert graph.jobs == ("chart", "clean", "gone", "load", "mail", "report")
    assert graph.edges == (
        ("chart", "mail", "starts"),
        ("clean", "report", "waits"),
        ("gone", "clean", "waits"),
        ("load", "clean", "waits"),
    )
    assert graph_of(JOBS, set()).jobs == ()


def test_a_box_tells_how_its_job_is_and_what_it_waits_for():
    states = {"load": "success", "clean": "failure"}
    nodes = {node["id"]: node for node in drawn(graph_of(JOBS, JOBS.jobs), JOBS, states.get)["nodes"]}

    assert (nodes["load"]["state"], nodes["load"]["isBad"]) == ("success", False)
    assert (nodes["clean"]["state"], nodes["clean"]["isBad"]) == ("failure", True)
    assert nodes["clean"]["words"] == "waits for gone; waits for load"
    assert nodes["mail"]["words"] == "is started by chart"
    told = {name: nodes[name]["state"] for name in ("gone", "wrong", "mail")}
    assert told == {"gone": "no such job", "wrong": "broken file", "mail": "never ran"}


def test_what_cannot_be_drawn_is_told():
    many = known(a=NO_OP, **{f"j{n}": waits_for("a") for n in range(MOST_NODES)})

    assert "151 jobs have to do with each other" in words_of(graph_of(many, many.jobs))
    assert "None of these jobs" in words_of(graph_of(known(a=NO_OP), {"a"}))
    assert "Not drawn: 2 that stand alone" in words_of(
        graph_of(known(a=NO_OP, b=waits_for("c"), d=NO_OP), ("a", "b", "d"))
    )
