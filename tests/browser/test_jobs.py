"""The frame's dialogs, the pages of jobs, the form for a new run: in a real browser, before the demo."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import TimeoutError

from tests.browser.conftest import settle
from tests.browser.test_pages import click, wait_for_words

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def client(demo):
    with demo.client() as client:
        yield client


def fill(tab, selector, text):
    """Type into a field, wherever it is."""
    tab.wait_for_function("selector => deep(selector).length", arg=selector)
    tab.evaluate(
        """([selector, text]) => { const field = deep(selector)[0]
          field.focus(); field.value = text; field.dispatchEvent(new Event("input", {bubbles: true})) }""",
        [selector, text],
    )


def until(tab, what, arg=None):
    tab.wait_for_function(what, arg=arg)


# ---- The frame ----


def test_search_leads_to_jobs_runs_and_labels_by_the_keyboard(reader, client):
    run = client.adhoc("echo searched", label="searched-for").wait(30)
    tab = reader().open("overview")

    tab.keyboard.press("/")
    until(tab, "() => deep('dialog.finder[open]').length")
    tab.keyboard.type("searched-f")
    wait_for_words(tab, ".finder li b", "searched-for")
    tab.keyboard.press("Control+a")
    tab.keyboard.type(run.run_id)
    wait_for_words(tab, ".finder li b", run.run_id)
    tab.keyboard.press("Control+a")
    tab.keyboard.type("etl")
    until(tab, "() => deep('.finder li').length > 2")
    first, second = tab.evaluate("() => deep('.finder li b').slice(0, 2).map(b => b.textContent)")
    tab.keyboard.press("ArrowDown")
    until(tab, "() => deep('.finder li')[1].getAttribute('aria-selected') === 'true'")
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/job?id={second.replace('/', '%2F')}")
    assert first != second


def test_the_keys_are_told_and_escape_closes_what_is_open(reader):
    tab = reader().open("overview")
    tab.keyboard.press("?")
    wait_for_words(tab, "dialog[open] dd", "search jobs")
    tab.keyboard.press("Escape")
    until(tab, "() => !deep('dialog[open]').length")

    click(tab, ".shell .more")
    click(tab, ".shell .leave")
    tab.wait_for_url("**/login")


# ---- A new run ----


def test_a_run_is_made_from_any_page_with_fields_for_its_params(reader, client):
    tab = reader().open("timeline")
    tab.keyboard.press("n")
    until(tab, "() => deep('dialog.adhoc[open] .choices [data-n]').length")
    tab.keyboard.type("ml score")
    until(tab, "() => deep('.adhoc .choices b').map(b => b.textContent).join() === 'ml/score'")
    tab.keyboard.press("Enter")

    wait_for_words(tab, ".adhoc .plan", "Fill in date")
    assert tab.evaluate("() => deep('.adhoc .go')[0].disabled")
    assert tab.evaluate("() => [...deep('.adhoc select[data-arg=model] option')].map(o => o.value)") == [
        "baseline",
        "boosted",
    ]
    fill(tab, ".adhoc input[data-arg=date]", "2026-11-20")
    fill(tab, ".adhoc #labels", "by hand")
    wait_for_words(tab, ".adhoc .plan pre", "score.py 2026-11-20 baseline")
    click(tab, ".adhoc .go:not(:disabled)")
    tab.wait_for_url("**/run?id=r*")
    settle(tab)
    made = client.run(tab.url.partition("id=")[2])
    assert (made.job_id, made.args["date"]) == ("ml/score", "2026-11-20")
    assert made.facts["labels"] == ["ml", "daily", "by hand"]


def test_what_does_not_fit_is_told_in_its_place(reader, client):
    tab = reader().open("adhoc?job=etl/load&arg.date=2026-11-20&arg.region=apac")
    wait_for_words(tab, ".adhoc .plan", "apac")
    fill(tab, ".adhoc #when", "in")
    fill(tab, ".adhoc #at", "soon")
    wait_for_words(tab, ".adhoc .fate", "at: ")
    fill(tab, ".adhoc #at", "10m")
    until(tab, "() => deep('.adhoc .fate')[0].hidden && !deep('.adhoc .go')[0].disabled")
    assert tab.evaluate("() => deep('.adhoc .go')[0].textContent") == "Schedule"

    click(tab, ".adhoc [data-kind=command]")
    fill(tab, ".adhoc #command", "echo {{ brace }}")
    wait_for_words(tab, ".adhoc .plan pre", "echo {{ brace }}")


def test_who_may_only_look_is_told_why(reader, client):
    token = client.make_token("read", name="looker")["token"]
    page = reader()
    page.context.clear_cookies()
    page.context.request.get(f"{page.demo.url}/?token={token}")
    tab = replace(page, demo=replace(page.demo, token=token)).open("job?id=etl/flaky")

    until(tab, "() => deep('button[data-tell=adhoc]')[0]?.disabled")
    assert "takes the role run" in tab.evaluate("() => deep('button[data-tell=adhoc]')[0].title")
    assert tab.evaluate("() => deep('.yaml textarea')[0].readOnly")
    tab.keyboard.press("n")
    wait_for_words(tab, ".adhoc .note", "takes the role run, and looker has read")


# ---- The jobs ----


def test_jobs_are_filtered_folded_and_the_address_keeps_it(reader, client):
    rows = "n => deep('table.jobs tr[data-href]').length === n"
    page = reader()
    tab = page.open("jobs")
    until(tab, rows, len(client.jobs))
    until(tab, "() => deep('table.jobs svg.strip').length > 5")
    click(tab, "tr[data-fold=etl] .arrow")
    until(tab, rows, sum(not job_id.startswith("etl/") for job_id in client.jobs))
    tab.wait_for_url("**/jobs?closed=etl")

    fill(tab, "input[type=search]", "sales")
    sales = sum(job_id.startswith("sales/") for job_id in client.jobs)
    until(tab, rows, sales)
    again = page.open(tab.url.rpartition("/")[2])
    until(again, rows, sales)
    assert again.evaluate("() => deep('input[type=search]')[0].value") == "sales"
    again.keyboard.press("j")
    again.keyboard.press("j")
    again.keyboard.press("Enter")
    again.wait_for_url("**/job?id=sales%2F*")


def test_what_waits_for_what_is_drawn_for_those_that_fit(reader):
    tab = reader().open("jobs?q=sales")
    click(tab, "button[data-action=view][data-value=graph]")
    until(tab, "() => deep('.workflow a.node').length >= 3")
    lines = "() => deep('.workflow path[data-from]').map(p => [p.dataset.from, p.dataset.to, p.classList[0]])"
    assert ["sales/import", "sales/report", "waits"] in tab.evaluate(lines)
    assert ["sales/report", "sales/chart", "starts"] in tab.evaluate(lines)
    assert "view=graph" in tab.url
    click(tab, "a.node[aria-label^='sales/report']")
    tab.wait_for_url("**/job?id=sales%2Freport")


def test_many_jobs_are_paused_and_resumed_after_a_question(reader, client):
    tab = reader().open("jobs?q=ops/")
    jobs = {job_id for job_id in client.jobs if job_id.startswith("ops/")}
    until(tab, "n => deep('table.jobs tr[data-href]').length === n", len(jobs))
    click(tab, "tr.folder input[type=checkbox]")
    click(tab, "button[data-action=pause]")
    wait_for_words(tab, "dialog", "ops/disk-usage")
    fill(tab, "dialog input[name=reason]", "seen in a test")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".said", f"{len(jobs)} jobs are paused")
    marks = "n => deep('td.name .mark').filter(m => m.textContent === 'paused').length === n"
    until(tab, marks, len(jobs))
    assert {pause["target"] for pause in client.list_pauses()} == jobs

    click(tab, "tr.folder input[type=checkbox]")
    click(tab, "button[data-action='resume?']")
    wait_for_words(tab, "dialog", "seen in a test")
    click(tab, "dialog button[value=yes]")
    until(tab, marks, 0)
    assert client.list_pauses() == []


def test_a_reload_tells_first_what_it_changes(reader, demo, client):
    file = demo.folder / "jobs" / "ops" / "new.yaml"
    tab = reader().open("jobs")
    try:
        file.write_text("program: {type: no-op}\n")
        click(tab, "button[data-action='reload?']")
        wait_for_words(tab, "dialog", "ops/new")
        click(tab, "dialog button[value=yes]")
        wait_for_words(tab, ".said", "1 new")
        wait_for_words(tab, "a.job", "new")
    finally:
        file.unlink()
        client.reload()
    until(tab, "() => !deep('a.job').some(a => a.textContent === 'new')")


# ---- One job ----


def test_a_job_tells_when_it_runs_how_it_went_and_what_depends_on_it(reader):
    tab = reader().open("job?id=sales/report")
    wait_for_words(tab, ".tree", "sales/import")
    wait_for_words(tab, ".tree", "sales/chart")
    until(tab, "() => deep('table')[0] && deep('td time').length >= 10")
    wait_for_words(tab, ".trend-words", "Duration")
    wait_for_words(tab, ".yaml .y-key", "schedule")
    until(tab, "() => deep('svg.strip a').length > 1")
    until(tab, "() => Bokeh.documents[0].get_model_by_name('bars').data_source.data.run_id?.length > 1")


#: What a page thinks of zones: for whoever has to find out why its axes did not follow.
ZONES = """() => JSON.stringify({
  head: deep('.shell .zone').map(b => b.textContent), said: apsis.zoneSaid, loads: performance.now(),
  models: [...Bokeh.documents[0].all_models].filter(model => model.attributes.zone).map(model => model.zone),
  axes: [...Bokeh.documents[0].all_models].filter(m => m.args?.zone).map(m => m.args.zone)})"""


def test_times_may_be_told_in_the_zone_of_the_job(reader):
    tab = reader(zone="Asia/Tokyo").open("job?id=etl/nightly")
    until(tab, "() => deep('td time').length >= 10")
    until(tab, "() => window.apsis.zoneName('own') === 'Europe/London'")  # which the page learns with the job
    for zone in ("UTC", "Europe/London"):
        click(tab, ".shell .zone")
        until(tab, "zone => deep('.shell .zone')[0].textContent === zone", zone)
    iso, shown = tab.evaluate(
        """() => { const t = deep('td time').find(t => !/ago|^in /.test(t.textContent))
                   return [t.dateTime, t.textContent] }"""
    )
    at = datetime.fromisoformat(iso).astimezone(ZoneInfo("Europe/London"))
    assert shown == at.strftime("%Y-%m-%d %H:%M:%S")
    try:
        until(
            tab,
            """() => [...Bokeh.documents[0].all_models]
              .some(model => model.type === 'CustomJSTicker' && model.args.zone === 'Europe/London')""",
        )
    except TimeoutError as error:
        raise AssertionError(tab.evaluate(ZONES)) from error
    click(tab, ".shell .zone")
    until(tab, "() => deep('.shell .zone')[0].textContent === 'Asia/Tokyo'")


def test_a_file_is_edited_with_what_is_wrong_and_what_will_change(reader, demo, client):
    before, _ = client.yaml("sales/chart")
    tab = reader().open("job?id=sales/chart")
    until(tab, "() => deep('.yaml textarea')[0] && !deep('.yaml textarea')[0].readOnly")
    try:
        fill(tab, ".yaml textarea", before.replace("program:", "progam:"))
        wait_for_words(tab, ".yaml .faults .y-error", "did you mean 'program'")
        assert tab.evaluate("() => deep('.yaml .save')[0].disabled")

        # Somebody else is quicker: nothing of theirs is lost.
        client.write_yaml("sales/chart", "# theirs\n" + before, tag=client.yaml("sales/chart")[1])
        wait_for_words(tab, "button[data-action=version]", "2")
        fill(tab, ".yaml textarea", before + "# mine\n")
        click(tab, ".yaml .save:not(:disabled)")
        wait_for_words(tab, ".wrong", "Somebody has changed the file")
        click(tab, ".yaml .undo")

        fill(tab, ".yaml textarea", before + "schedule: {type: interval, interval: 1h}\n")
        click(tab, ".yaml .save:not(:disabled)")
        wait_for_words(tab, "dialog .difference ins", "+schedule")
        wait_for_words(tab, "dialog", "runs more")
        click(tab, "dialog button[value=yes]")
        wait_for_words(tab, ".said", "is saved")
        until(tab, "() => deep('.when b').length")
        newest = str(client.versions("sales/chart")[-1]["version"])
        until(tab, "n => deep('button[data-action=version]')[0].textContent === n", newest)
        click(tab, "button[data-action=version]")
        wait_for_words(tab, ".version .difference ins", "+schedule")
    finally:
        (demo.folder / "jobs" / "sales" / "chart.yaml").write_text(before)
        client.reload()


def test_a_backfill_says_what_it_runs_before_it_does(reader, client):
    tab = reader().open("job?id=etl/nightly")
    click(tab, "button[data-action='backfill?']")
    fill(tab, "dialog input[name=start]", "2026-11-01")
    fill(tab, "dialog input[name=stop]", "2026-11-02")
    click(tab, "dialog input[name=only_missing]")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, "dialog h2", "Backfill 2 runs of etl/nightly?")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".said", "has begun")
    wait_for_words(tab, "h2", "Backfills")
    assert client.list_backfills()[0]["job_id"] == "etl/nightly"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("job", "No job is named"),
        ("job?id=no/such", "There is no job no/such"),
        ("job?id=%3Cb%3E", "There is no job <b>"),
    ],
)
def test_a_job_that_is_not_there_is_told_in_words(reader, address, words):
    wait_for_words(reader().open(address), ".nothing", words)
