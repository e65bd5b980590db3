"""The table of jobs: which are chosen, how they stand in the tree, and what is told of each."""

from apsis_nb.core.jobs import job_from_dict
from apsis_nb.views import jobs_table
from apsis_nb.views.catalogue import Known
from apsis_nb.views.jobs_table import Choice, Row, choice_of, chosen_jobs, job_cells, rows_html, tree
from apsis_nb.wire import job_facts

DAILY = {"schedule": {"type": "interval", "interval": 3600}, "program": {"type": "no-op"}}


def known(*, errors=(), pauses=(), **jobs):
    made = {name.replace("__", "/"): data for name, data in jobs.items()}
    facts = {job_id: job_facts(job_from_dict(job_id, data)) for job_id, data in sorted(made.items())}
    return Known(facts, list(errors), list(pauses))


def fault(job_id):
    place = {"file": f"/jobs/{job_id}.yaml", "line": 1, "col": 1}
    return {"job_id": job_id, "level": "error", "message": "unknown key 'progam'", **place}


def pause(scope, target):
    return {"scope": scope, "target": target, "since": "2026-11-27T20:00:00Z", "until": None}


JOBS = known(
    etl__load={**DAILY, "metadata": {"labels": ["etl"], "description": "Loads rows of a region."}},
    etl__deep__clean={**DAILY, "metadata": {"labels": ["etl", "slow"]}},
    off={"schedule": [{**DAILY["schedule"], "enabled": False}], "program": {"type": "no-op"}},
    asked={"program": {"type": "no-op"}},
    errors=[fault("etl/broken")],
    pauses=[pause("path", "etl/deep")],
)


def chosen(last_state=lambda job_id: "", **choice):
    return chosen_jobs(JOBS, Choice(**choice), last_state)


def test_words_are_looked_for_in_id_label_and_description():
    assert chosen() == ["asked", "etl/broken", "etl/deep/clean", "etl/load", "off"]
    assert chosen(words="ETL region") == ["etl/load"]
    assert chosen(words="slow") == ["etl/deep/clean"]
    assert chosen(label="etl") == ["etl/deep/clean", "etl/load"]
    assert chosen(label="etl", words="nothing") == []


def test_jobs_are_chosen_by_how_they_are():
    assert chosen(only="broken") == ["etl/broken"]
    assert chosen(only="paused") == ["etl/deep/clean"]
    assert chosen(only="disabled") == ["off"]
    assert chosen(only="unscheduled") == ["asked"]
    states = {"etl/load": "failure", "off": "success"}
    assert chosen(only="failed", last_state=lambda job_id: states.get(job_id, "")) == ["etl/load"]


def test_a_folder_has_its_jobs_first_and_hides_them_when_closed():
    ids = ["asked", "etl/deep/clean", "etl/load", "off"]
    both = ("etl/deep/clean", "etl/load")
    assert tree(ids, frozenset()) == [
        Row("job", "asked"),
        Row("job", "off"),
        Row("folder", "etl", 0, both),
        Row("job", "etl/load", 1),
        Row("folder", "etl/deep", 1, ("etl/deep/clean",)),
        Row("job", "etl/deep/clean", 2),
    ]
    assert tree(ids, frozenset({"etl"})) == [
        Row("job", "asked"),
        Row("job", "off"),
        Row("folder", "etl", 0, both),
    ]


def test_the_address_keeps_the_choice_and_what_it_says_wrongly_is_left_out():
    choice = Choice("a b", "etl", "paused", "next", 2, frozenset({"etl", "x/y"}))
    assert choice_of(choice.said()) == choice
    assert choice_of({"only": "odd", "sort": "<b>", "page": "-3"}) == Choice()


def test_the_nearest_pause_is_the_one_that_is_told():
    held = known(etl__load=DAILY, pauses=[pause("all", ""), pause("job", "etl/load"), pause("path", "etl")])
    assert held.pause_of("etl/load")["scope"] == "job"
    assert held.pause_of("other")["scope"] == "all"


def test_what_a_job_says_is_escaped():
    data = {**DAILY, "metadata": {"labels": ["<i>"], "description": "<script>"}}
    facts = known(odd=data).jobs["odd"]
    cells = job_cells(
        "odd", facts, is_broken=True, pause=pause("job", "odd"), next_at=None, last=None, stats=None,
        runs=[], is_flat=True,
    )  # fmt: skip
    html = rows_html([Row("job", "odd")], {"odd": cells}, 1, 1, Choice(), frozenset(), "")
    assert "&lt;script&gt;" in html
    assert "&lt;i&gt;" in html
    assert "<script>" not in html
    assert "broken file" in html
    assert "paused" in html


def test_a_rate_is_never_rounded_up_to_all():
    stats = {"success": 2999, "failed": 1}
    assert "99.9 %" in jobs_table._rate_cell(stats)
    assert "100 %" in jobs_table._rate_cell({"success": 3000, "failed": 0})
    assert jobs_table._rate_cell({"success": 0, "failed": 0}) == ""
