"""The timeline in a real browser: groups, boxes, double taps, keys, the strip."""

import pytest

from tests.browser.conftest import settle
from tests.browser.test_pages import click, wait_for_words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROWS = "() => deep('.rows li').map(li => li.textContent.trim())"
WINDOW = (
    "() => { const r = Bokeh.documents[0].get_model_by_name('timeline').x_range; return [r.start, r.end] }"
)
MIDDLE = """selector => {
  const r = deep(selector)[0].getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }"""
#: Where the middle of a bar stands on the page, and how many runs it has; the frame lies 4 and 6 pixels in.
PLACE = """n => {
  const fig = Bokeh.documents[0].get_model_by_name('timeline')
  const data = Bokeh.documents[0].get_model_by_name('bars').data_source.data
  const el = deep('.bk-Canvas')[0].getBoundingClientRect(), {start, end} = fig.x_range
  const x = (data.left[n] + data.right[n]) / 2, y = (data.top[n] + data.bottom[n]) / 2
  return [el.x + 4 + (x - start) / (end - start) * fig.inner_width, el.y + 6 + 26 * y, data.runs[n]]
}"""


@pytest.fixture(scope="module")
def client(demo):
    with demo.client() as client:
        yield client


def drawn(tab):
    tab.wait_for_function(
        "() => Bokeh.documents[0].get_model_by_name('bars')?.data_source.data.run_id?.length > 0"
    )


def test_rows_are_grouped_folded_and_sorted_and_the_address_keeps_it(reader):
    page = reader()
    tab = page.open("timeline")
    drawn(tab)
    names = tab.evaluate(ROWS)
    assert "etl/flaky" in names

    tab.evaluate(
        "() => { const s = deep('select[data-action=group]')[0]; s.value = 'path'; "
        "s.dispatchEvent(new Event('change', {bubbles: true})) }"
    )
    tab.wait_for_function("() => deep('.rows .fold').some(b => b.textContent.includes('etl'))")
    click(tab, ".rows .fold[data-value=etl]")
    tab.wait_for_function("() => deep('.rows .fold[aria-expanded=false]').length === 1")
    assert "flaky" not in tab.evaluate(ROWS)
    assert "group=path" in tab.url
    assert "folded=etl" in tab.url

    again = page.open(tab.url.partition("/dash/")[2])
    again.wait_for_function("() => deep('.rows .fold[aria-expanded=false]').length === 1")


def test_a_box_filters_the_table(reader):
    tab = reader().open("timeline")
    drawn(tab)
    tab.wait_for_function("() => deep('.rows li').length > 3")
    tab.mouse.click(*tab.evaluate(MIDDLE, ".bk-tool-icon-box-select"))
    box = tab.evaluate(
        "() => { const r = deep('.bk-Canvas')[0].getBoundingClientRect(); return [r.x, r.y, r.width] }"
    )
    tab.mouse.move(box[0] + 30, box[1] + 8)
    tab.mouse.down()
    tab.mouse.move(box[0] + box[2] - 90, box[1] + 24, steps=5)
    tab.mouse.up()

    wait_for_words(tab, ".chosen", "1 job,")
    job = tab.evaluate("() => deep('.rows li a')[0].title")
    tab.wait_for_function(
        "job => deep('tbody a.job').length && deep('tbody a.job').every(a => a.textContent === job)", arg=job
    )
    click(tab, "button[data-action=unbox]")
    tab.wait_for_function(
        "() => !deep('.chosen').length && new Set(deep('tbody a.job').map(a => a.textContent)).size > 1"
    )


def test_a_double_tap_zooms_to_the_run_and_keys_move_on(reader, client):
    run = client.adhoc("sleep 1", label="twice").wait(30)
    tab = reader().open(f"timeline?job={run.job_id}&span=1h")
    drawn(tab)
    start, end = tab.evaluate(WINDOW)
    x, y, runs = tab.evaluate(PLACE, 0)
    assert runs == 1
    tab.mouse.dblclick(x, y)
    tab.wait_for_function(
        """span => { const r = Bokeh.documents[0].get_model_by_name('timeline').x_range
          return r.end - r.start < span / 20 }""",
        arg=end - start,
    )
    tab.wait_for_function("() => location.search.includes('from=')")
    assert "/timeline" in tab.url
    assert not tab.query_selector("#opening")

    before = tab.url
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_function("url => location.href !== url", arg=before)
    tab.keyboard.press("0")
    tab.wait_for_function("() => !location.search.includes('from=')")
    settle(tab)


def test_the_strip_shows_a_longer_time_and_changes_of_the_clocks_are_shaded(reader):
    tab = reader(zone="Europe/London").open("timeline?from=2026-10-24T12:00:00Z&to=2026-10-25T12:00:00Z")
    tab.wait_for_function("() => (Bokeh.documents[0].get_model_by_name('strip')?.renderers ?? []).length")
    tab.wait_for_function(
        "() => [...Bokeh.documents[0].all_models].some("
        "m => m.type === 'Label' && m.visible && m.text === 'clocks back 1 h')"
    )


def test_all_that_failed_is_run_again_at_once(reader, client):
    made = [client.adhoc("exit 3", label="failed-together").wait(30) for _ in range(2)]
    tab = reader().open("timeline?job=failed-together&state=bad")
    tab.wait_for_function("() => deep('input[data-action=pick]').length === 2")

    click(tab, "input[data-action=pick-all]")
    tab.wait_for_function("() => deep('button[data-action=\"start:runs\"]')[0]?.disabled === false")
    assert tab.evaluate("() => deep('button[data-action=\"stop:runs\"]')[0].disabled")
    click(tab, 'button[data-action="start:runs"]')
    wait_for_words(tab, "dialog", "a new run with the same args is made")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".said", "2 started, or made anew")
    again = tab.evaluate("() => deep('.said a.run').map(a => a.textContent)")
    assert {client.run(run_id).facts["rerun_of"] for run_id in again} == {run.run_id for run in made}
    tab.wait_for_function("() => deep('input[data-action=pick]').every(box => !box.checked)")
