"""The pages that look back and ahead, in a real browser before the real demo."""

import io
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from tests.browser.conftest import WIDE_TABLES
from tests.browser.test_pages import click, wait_for_words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: How many bars of a state are drawn.
BARS = "state => Bokeh.documents[0].get_model_by_name(`ended-${state}`)?.data_source.data.runs?.length ?? 0"
MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def client(demo):
    with demo.client() as client:
        yield client


def type_in(tab, label, words):
    tab.evaluate(
        """([label, words]) => { const field = deep(`input[aria-label="${label}"]`)[0]
          field.value = words; field.dispatchEvent(new Event('input', {bubbles: true})) }""",
        [label, words],
    )


def bytes_of_data(tab):
    """How much text the parts of the page and their plots were sent."""
    return tab.evaluate(
        """() => [...Bokeh.documents[0].all_models].reduce((sum, model) => sum
          + (model.type !== 'ColumnDataSource' ? 0
            : Object.values(model.data).reduce((n, column) => n + JSON.stringify([...column]).length, 0))
          + (typeof model.data?.content === 'string' ? model.data.content.length : 0), 0)"""
    )


def test_the_history_is_narrowed_by_calendar_state_words_and_back(reader):
    tab = reader().open("history?range=90d")
    tab.wait_for_function(f"() => ({BARS})('success') > 20")
    assert bytes_of_data(tab) < MOST_BYTES
    tab.wait_for_function(
        "() => Bokeh.documents[0].get_model_by_name('durations-median').data_source.data.x.length > 5"
    )

    click(tab, ".key-state[data-value=failure]")
    tab.wait_for_function(f"() => ({BARS})('success') === 0 && ({BARS})('failure') > 0")
    assert "state=failure" in tab.url
    click(tab, ".key-state[data-value=failure]")

    type_in(tab, "Job", "etl/flaky")
    wait_for_words(tab, ".card button.job", "etl/flaky")
    tab.wait_for_function("() => deep('.card button.job').every(b => b.textContent === 'etl/flaky')")

    click(tab, "table.heat button.cell")
    tab.wait_for_function("() => location.search.includes('from=') && deep('table.heat.hours').length")
    assert "job=etl%2Fflaky" in tab.url
    click(tab, "button[data-action=back]")
    tab.wait_for_function("() => location.search.includes('range=90d') && deep('table.heat.days').length")

    click(tab, "button[data-action=table][data-value=counts]")
    wait_for_words(tab, "h2", "Runs by day, as a table")
    for name, words in (("on_time", "Started late"), ("drift", "Before"), ("cost", "Processor")):
        click(tab, f"button[data-action=tab][data-value={name}]")
        wait_for_words(tab, "th", words)
    assert "table=cost" in tab.url


def test_a_query_is_chosen_changed_kept_and_its_answer_downloaded(reader):
    page = reader()
    tab = page.open("history?range=7d")
    tab.wait_for_function("() => deep('.sql select option').length > 5")

    tab.evaluate(
        """() => { const choice = deep('.sql select')[0]
          choice.value = 'ready:0'; choice.dispatchEvent(new Event('change', {bubbles: true})) }"""
    )
    wait_for_words(tab, ".sql .answer th", "percent")
    assert tab.evaluate("() => deep('.sql .answer tbody tr').length") > 3

    query = "SELECT job_id, count(*) AS runs FROM runs GROUP BY job_id ORDER BY job_id"
    write = "query => { deep('.sql textarea')[0].value = query }"
    tab.evaluate(write, query.replace("job_id,", "job_idd,"))
    click(tab, ".sql button.run")
    wait_for_words(tab, ".sql-wrong", "job_idd")
    assert tab.evaluate("() => deep('.sql .csv')[0].disabled")

    tab.evaluate(write, query)
    click(tab, ".sql button.run")
    tab.wait_for_function("() => deep('.sql .answer td.right').length > 3")
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        with tab.expect_download() as waited:
            click(tab, f".sql button.{kind}")
        frame = read(io.BytesIO(waited.value.path().read_bytes()))
        assert frame["job_id"].tolist() == sorted(frame["job_id"])
        assert frame["runs"].sum() > 4000

    click(tab, ".sql button.save")
    tab.evaluate("() => { deep('.sql form.name input')[0].value = 'by <job>' }")
    click(tab, ".sql form.name button.primary")
    wait_for_words(tab, ".sql .state", "Kept")
    tab = page.open("history")
    tab.wait_for_function(
        "() => deep('.sql optgroup').some(g => g.label.startsWith('Kept') && g.textContent === 'by <job>')"
    )


def test_which_job_was_late_most_often_and_why_is_answered_at_once(reader, client):
    tab = reader().open("late")  # one click, in the head of every page

    tab.wait_for_function("() => deep('button.job').length > 3")
    first = tab.evaluate("() => deep('button.job')[0].textContent")
    late = client.sql(
        "SELECT job_id, count(*) AS n, count(*) FILTER (late_why = 'condition') AS waited FROM runs"
        " WHERE late AND scheduled_at >= utc_now() - INTERVAL 29 DAY GROUP BY job_id ORDER BY n DESC"
    )
    assert first in set(late["job_id"].head(3))
    assert tab.evaluate("() => deep('.whys b')[0].textContent") in {
        "a condition",
        "a limit of runs",
        "its host",
    }

    click(tab, "button.job")  # and one more for its own
    wait_for_words(tab, "h2", f"How late {first} started")
    tab.wait_for_function("() => location.search.includes('of=')")
    tab.wait_for_function(
        "() => Bokeh.documents[0].get_model_by_name('lateness-median').data_source.data.x.length > 5"
    )
    wait_for_words(tab, ".legend", "budget: start within")


def test_many_runs_that_were_missed_are_made_up_for_at_once(reader, client):
    tab = reader().open("late?range=90d")
    tab.wait_for_function("() => deep('input[data-action^=\"pick:missed:\"]').length > 2")
    names = tab.evaluate(
        """() => deep('input[data-action^="pick:missed:"]').slice(0, 2).map(box => {
          box.click(); return box.dataset.action.split(':')[2] })"""
    )
    wait_for_words(tab, ".acts .muted", "2 chosen")

    click(tab, 'button[data-action="start:missed"]')
    wait_for_words(tab, "dialog", "a new run with the same args is made")
    for name in names:
        wait_for_words(tab, "dialog[open]", name)
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".said", "2 started, or made anew")
    made = tab.evaluate("() => deep('.said a.run').map(a => a.textContent)")
    assert {client.run(run).facts["rerun_of"] for run in made} == set(names)
    wait_for_words(tab, "td", "run again as")
    assert tab.evaluate("() => deep('input[data-action^=\"pick:missed:\"]').every(box => !box.checked)")


def test_the_schedule_shows_the_week_a_day_and_what_is_paused(reader, client):
    tab = reader(zone="America/New_York").open("schedule?job=heartbeat")
    tab.wait_for_function("() => deep('table.week button.cell').length === 7 * 24")
    hours = tab.evaluate("() => deep('table.week button.cell').map(b => b.textContent)")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    every = client.expected_counts(hour, hour + timedelta(hours=1), job="ops/heartbeat")["runs"].sum()
    assert set(hours) == {f"{every:,}"}
    wait_for_words(tab, ".more", "America/New_York")

    click(tab, "table.week thead th:last-child button")
    tab.wait_for_function("() => location.search.includes('day=')")
    wait_for_words(tab, "td", f"{24 * every:,} times")

    client.pause("ops/heartbeat", reason="a <test>")
    try:
        wait_for_words(tab, ".paused", "a <test>")
        wait_for_words(tab, "table.week td", "paused")
    finally:
        client.resume("ops/heartbeat")


def test_a_change_of_the_clocks_is_marked_in_its_week(reader):
    today = datetime.now(UTC).date()
    monday = today - timedelta(days=today.weekday())
    change = next(
        day
        for day in (today + timedelta(days=n) for n in range(7, 400))
        if day.month == 3 and day.weekday() == 6 and day.day > 24
    )
    tab = reader(zone="Europe/London").open(f"schedule?week={(change - monday).days // 7}")

    wait_for_words(tab, ".changes", "go forward to 02:00")
    assert tab.evaluate("() => deep('.cell.gone').map(c => c.textContent)") == ["skipped"]
    click(tab, ".shell .zone")
    tab.wait_for_function("() => deep('.cell.gone').length === 0")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("history?from=2001-01-01T00:00:00Z&to=2001-02-01T00:00:00Z", "No run in this time."),
        ("history?job=no-such-job", "No run of a job with “no-such-job” in its name"),
        ("late?job=no-such-job", "no time was missed"),
        ("schedule?job=no-such-job", "No schedule of a job with “no-such-job” in its name"),
    ],
)
def test_what_is_empty_says_so(reader, address, words):
    tab = reader().open(address)
    wait_for_words(tab, ".nothing", words)
    assert tab.evaluate("() => deep('.wrong').every(part => !part.checkVisibility())")


def test_a_phone_has_room_for_them(reader):
    page = reader(width=390, height=800)

    for address in ("history", "late", "schedule"):
        tab = page.open(address)
        assert tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), address
        assert tab.evaluate(WIDE_TABLES) == [], address
