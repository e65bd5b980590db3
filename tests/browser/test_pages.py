"""The dashboards in a real browser, before the real demo."""

import os
import re
import signal
import time
from contextlib import suppress

import pytest

from apsis_nb.client import Client, RequestRefused
from tests.browser.axe import axe_faults
from tests.browser.conftest import (
    DEEP,
    PATIENCE_MS,
    PICTURES,
    WIDE_TABLES,
    end_demo,
    run_demo,
    settle,
    wait_for_dashboards,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WORDS = "selector => deep(selector).map(e => e.textContent.trim())"


@pytest.fixture(scope="module")
def client(demo):
    with demo.client() as client:
        yield client


def click(tab, selector):
    tab.wait_for_function("selector => deep(selector).length", arg=selector)
    tab.evaluate("selector => deep(selector)[0].click()", selector)


def wait_for_words(tab, selector, words):
    tab.wait_for_function(
        "([selector, words]) => deep(selector).some(e => e.textContent.includes(words))",
        arg=[selector, words],
    )


def long_run(client, label, lines=400):
    """A run that prints a line every tenth of a second."""
    return client.adhoc(
        f'for n in $(seq {lines}); do printf "\\033[32mline\\033[0m %s\\n" $n; sleep 0.1; done', label=label
    )


# ---- What happens is seen, without loading the page anew ----


def test_a_run_appears_runs_and_ends_before_the_readers_eyes(reader, client):
    tab = reader().open("overview")
    tab.evaluate("() => { window.never_loaded_anew = true }")

    run = client.adhoc("sleep 60", label="seen")
    tab.wait_for_function("id => deep('a.run').some(a => a.textContent === id)", arg=run.run_id)
    run.stop()
    tab.wait_for_function(
        "id => deep('tr').some(tr => tr.textContent.includes(id) && tr.textContent.includes('failure'))",
        arg=run.run_id,
    )
    assert tab.evaluate("() => window.never_loaded_anew")


def test_the_output_grows_as_the_program_writes(reader, client):
    run = long_run(client, "grows")
    tab = reader().open(f"run?id={run.run_id}")

    wait_for_words(tab, ".blocks", "line 5")
    wait_for_words(tab, ".blocks", "line 20")
    assert tab.evaluate("() => deep('.ansi32')[0].textContent") == "line"
    assert tab.evaluate(
        "() => { const p = deep('.pane')[0]; return p.scrollHeight - p.scrollTop - p.clientHeight < 30 }"
    )
    run.stop()


def test_whoever_scrolls_up_is_left_in_peace(reader, client):
    run = long_run(client, "read")
    tab = reader().open(f"run?id={run.run_id}")
    wait_for_words(tab, ".blocks", "line 40")

    tab.mouse.move(300, 500)
    tab.mouse.wheel(0, -4000)
    tab.wait_for_function("() => !deep('.follow')[0].checked")
    lines = tab.evaluate("() => deep('.blocks')[0].textContent.split('line').length")
    tab.wait_for_function("n => deep('.blocks')[0].textContent.split('line').length > n", arg=lines + 5)
    assert tab.evaluate("() => deep('.pane')[0].scrollTop") == 0
    run.stop()


def test_of_a_long_output_the_end_comes_first_and_the_rest_on_demand(reader, client):
    run = client.adhoc("seq 200000", label="long").wait(60)
    tab = reader().open(f"run?id={run.run_id}")

    wait_for_words(tab, ".blocks", "200000")
    assert "\n100000\n" not in tab.evaluate("() => deep('.blocks')[0].textContent")
    click(tab, ".earlier")
    wait_for_words(tab, ".blocks", "\n150000\n")


def test_outputs_that_are_kept_apart_have_a_tab_each(reader, client):
    command = "echo all is well; echo take care >&2; echo a,b > $APSIS_OUTPUT_DIR/table.csv"
    job = {"program": {"type": "shell", "split": True, "command": command}}
    run = client._request_runs({"job": job}, None, None, ())[0].wait(30)
    tab = reader().open(f"run?id={run.run_id}")

    wait_for_words(tab, ".blocks", "all is well")
    tabs = "() => deep('.names button').map(b => [b.textContent, b.getAttribute('aria-pressed')])"
    tab.wait_for_function("() => deep('.names button').length === 3")
    assert tab.evaluate(tabs) == [["stdout", "true"], ["stderr", "false"], ["table.csv", "false"]]
    click(tab, ".names button:nth-child(2)")
    wait_for_words(tab, ".blocks", "take care")
    assert tab.evaluate(tabs)[1] == ["stderr", "true"]


# ---- What one can do ----


def test_a_run_is_stopped_only_after_a_question(reader, client):
    run = long_run(client, "stopped")
    tab = reader().open(f"run?id={run.run_id}")

    click(tab, "button[data-action=stop]")
    wait_for_words(tab, "dialog", "SIGTERM")
    click(tab, "dialog button[value=no]")
    tab.wait_for_function("() => deep('dialog[open]').length === 0")
    assert run.state == "running"

    click(tab, "button[data-action=stop]")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".big b", "failure")
    assert run.wait(30).facts["message"] == "stopped by SIGTERM"


def test_escape_closes_the_question(reader, client):
    run = long_run(client, "escape")
    tab = reader().open(f"run?id={run.run_id}")

    click(tab, "button[data-action=stop]")
    wait_for_words(tab, "dialog", "SIGTERM")
    tab.keyboard.press("Escape")
    tab.wait_for_function("() => deep('dialog[open]').length === 0")
    assert run.state == "running"
    run.stop()


def test_a_run_is_made_again_with_another_arg(reader, client):
    run = client.schedule("ml/score", date="2026-11-20", model="baseline").wait(60)
    tab = reader().open(f"run?id={run.run_id}")

    click(tab, "button[data-action=rerun]")
    tab.wait_for_function("() => deep('dialog input[name=\"arg:date\"]').length")
    tab.evaluate("() => { deep('dialog input[name=\"arg:date\"]')[0].value = '2026-11-21' }")
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".said", "was made")
    made = tab.evaluate("() => deep('.said a.run')[0].textContent")
    assert client.run(made).args == {"date": "2026-11-21", "model": "baseline"}


def test_what_the_server_refuses_is_told_on_the_page(reader, client):
    run = client.schedule("ml/score", date="2026-11-20", model="baseline").wait(60)
    tab = reader().open(f"run?id={run.run_id}")

    click(tab, "button[data-action=rerun]")
    tab.wait_for_function("() => deep('dialog select[name=\"arg:model\"]').length")
    # As if the job file had offered more when the page was made.
    tab.evaluate(
        "() => deep('dialog select[name=\"arg:model\"]')[0].append(new Option('none', 'none', true, true))"
    )
    click(tab, "dialog button[value=yes]")
    wait_for_words(tab, ".wrong", "none of baseline, boosted")


# ---- The timeline ----


def test_a_tap_on_a_bar_opens_its_run(reader, client):
    run = client.adhoc("sleep 2", label="tapped").wait(30)
    page = reader()
    since, until = (run.facts[name] for name in ("started_at", "finished_at"))
    tab = page.open(f"timeline?job={run.job_id}&from={since}&to={until}")
    tab.wait_for_function(
        "() => Bokeh.documents[0].get_model_by_name('bars')?.data_source.data.run_id?.length === 1"
    )
    x, y = tab.evaluate(
        """() => {
          const el = deep('.bk-Canvas')[0].getBoundingClientRect()
          const figure = Bokeh.documents[0].get_model_by_name('bars')
          return [el.x + el.width / 2, el.y + 6 + 13]
        }"""
    )
    # What is said stands there only until the other page opens.
    tab.evaluate(
        """() => { const {opening} = apsis
          apsis.opening = (...asked) => { opening(...asked)
            sessionStorage.said = document.getElementById("opening").textContent } }"""
    )
    tab.mouse.click(x, y)
    tab.wait_for_url(f"**/run?id={run.run_id}")
    settle(tab)
    assert tab.evaluate("() => sessionStorage.said") == f"Opening {run.run_id} …"
    assert run.job_id in tab.evaluate("() => deep('h1')[0].textContent")


def test_the_wheel_zooms_and_fetches_what_is_seen(reader):
    tab = reader().open("timeline?span=30d")
    drawn = "() => Bokeh.documents[0].get_model_by_name('bars')?.data_source.data.run_id?.length ?? 0"
    tab.wait_for_function(f"() => ({drawn})() > 100")
    before = tab.evaluate(drawn)

    tab.mouse.move(700, 300)
    for _ in range(6):
        tab.mouse.wheel(0, -300)
    tab.wait_for_function(
        "n => Bokeh.documents[0].get_model_by_name('bars').data_source.data.run_id.length < n", arg=before
    )
    tab.wait_for_function("() => location.search.includes('from=')")
    assert tab.evaluate("() => deep('button[data-action=now]')[0].getAttribute('aria-pressed')") == "false"

    click(tab, "button[data-action=now]")
    tab.wait_for_function("() => !location.search.includes('from=')")


def test_the_table_below_is_filtered_with_the_bars(reader):
    tab = reader().open("timeline?span=90d")
    tab.wait_for_function("() => deep('tbody tr').length === 25")

    tab.evaluate(
        """() => { const field = deep('input[type=search]')[0]
          field.value = 'etl/flaky'; field.dispatchEvent(new Event('input', {bubbles: true})) }"""
    )
    tab.wait_for_function(
        "() => deep('tbody tr').length && deep('tbody a.job').every(a => a.textContent === 'etl/flaky')"
    )
    tab.wait_for_function(
        "() => new Set(Bokeh.documents[0].get_model_by_name('bars').data_source.data.job_id).size === 1"
    )
    assert "job=etl%2Fflaky" in tab.url

    before = tab.evaluate("() => deep('tbody a.run')[0].textContent")
    click(tab, "button[aria-label=Older]")
    tab.wait_for_function("run => deep('tbody a.run')[0].textContent !== run", arg=before)


def test_the_rows_are_reached_by_the_keyboard(reader):
    tab = reader().open("timeline?span=7d")
    tab.wait_for_function("() => deep('tbody tr').length > 2")
    runs = tab.evaluate("() => deep('tbody a.run').map(a => a.textContent)")

    tab.evaluate("() => deep('tbody tr')[0].focus()")
    tab.keyboard.press("j")
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/run?id={runs[1]}")


# ---- Time zones and themes ----


def test_times_are_in_the_readers_zone_or_in_utc(reader):
    tab = reader(zone="Asia/Tokyo").open("timeline")
    shown = """() => { const t = deep('tbody time')[0]
      return [t.dateTime.slice(11, 13), t.textContent.slice(11, 13)] }"""
    tab.wait_for_function("() => deep('tbody time').length")

    utc, local = tab.evaluate(shown)
    assert (int(utc) + 9) % 24 == int(local)
    assert tab.evaluate("() => deep('.zone')[0].textContent") == "Asia/Tokyo"

    click(tab, ".shell .zone")
    utc, local = tab.evaluate(shown)
    assert utc == local


def test_the_axis_ticks_on_round_hours_of_the_readers_clock(reader):
    tab = reader(zone="Asia/Kolkata").open("timeline?from=2026-11-20T00:00:00Z&to=2026-11-20T12:00:00Z")
    ticks = """() => { const axis = [...Bokeh.documents[0].all_models]
        .find(m => m.type === 'LinearAxis' && m.ticker.type === 'CustomJSTicker')
      const [start, end] = [Date.UTC(2026, 10, 20), Date.UTC(2026, 10, 20, 12)]
      const t = axis.ticker.get_ticks(start, end, {start, end}, NaN).major
      return axis.formatter.doFormat(t, {loc: 0}) }"""

    labels = tab.evaluate(ticks)
    assert labels[0].endswith("Fri 20 Nov")
    assert all(label[2:5] == ":00" for label in labels)


@pytest.mark.parametrize(
    ("zone", "start", "stop", "hours"),
    [
        # The clocks go back at 01:00 UTC: London shows 00, 03, 06 ... and no tick is doubled or lost.
        ("Europe/London", "2026-10-24T23:00:00Z", "2026-10-25T23:00:00Z", [0, 3, 6, 9, 12, 15, 18, 21]),
        ("America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", [0, 3, 6, 9, 12, 15, 18, 21]),
    ],
)
def test_ticks_stay_on_round_hours_when_the_clocks_change(reader, zone, start, stop, hours):
    tab = reader(zone=zone).open(f"timeline?from={start}&to={stop}")
    labels = tab.evaluate(
        """([start, stop]) => { const axis = [...Bokeh.documents[0].all_models]
            .find(m => m.type === 'LinearAxis' && m.ticker.type === 'CustomJSTicker')
          const range = {start: Date.parse(start), end: Date.parse(stop) - 1}
          const t = axis.ticker.get_ticks(range.start, range.end, range, NaN).major
          return axis.formatter.doFormat(t, {loc: 0}) }""",
        [start, stop],
    )

    assert [int(label[:2]) for label in labels] == hours


def test_the_theme_is_the_systems_until_one_chooses(reader):
    page = reader(dark=True)
    tab = page.open("overview")
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(background) == "rgb(16, 18, 22)"

    click(tab, ".shell .theme")  # dark, by choice
    click(tab, ".shell .theme")  # light
    tab.wait_for_function("() => document.documentElement.dataset.theme === 'light'")
    assert page.open("timeline").evaluate(background) == "rgb(245, 246, 248)"


# ---- What fails while nobody looks ----


def test_failures_are_notified_and_counted_by_the_tab_that_nobody_sees(reader, client):
    page = reader()
    page.context.grant_permissions(["notifications"], origin=page.demo.url)
    # The browser's own notifications are shown by nobody here: what they are asked is kept.
    page.context.add_init_script(
        """window.Notification = class extends window.Notification {
          constructor(title, options) {
            super(title, options)
            ;(window.told ??= []).push([title, options.tag])
          }
        }"""
    )
    tab = page.open("schedule")
    click(tab, ".shell .more")
    click(tab, ".shell .notify")
    wait_for_words(tab, ".notify", "Failures are notified")
    title = tab.title()

    tab.evaluate(
        """() => { Object.defineProperty(document, "hidden", {value: true, configurable: true})
          document.dispatchEvent(new Event("visibilitychange")) }"""
    )
    run = client.adhoc("echo no >&2; exit 3").wait(30)
    tab.wait_for_function("id => window.told?.some(([, tag]) => tag === id)", arg=run.run_id)
    assert re.fullmatch(r"\(\d+\) " + re.escape(title), tab.title())
    told = {tag: words for words, tag in tab.evaluate("() => window.told")}
    assert told[run.run_id].startswith(f"{run.job_id}: failure")

    tab.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')) }")
    tab.wait_for_function("title => document.title === title", arg=title)


# ---- Empty and broken ----


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("run", "No run is named"),
        ("run?id=r999999999", "There is no run r999999999"),
        ("run?id=%3Cb%3E", "is no run id"),
    ],
)
def test_a_run_that_is_not_there_is_told_in_words(reader, address, words):
    tab = reader().open(address)
    wait_for_words(tab, ".nothing", words)
    assert tab.evaluate("() => deep('.output').every(part => !part.checkVisibility())")


def test_a_window_without_runs_says_so(reader):
    tab = reader().open("timeline?from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z")

    wait_for_words(tab, ".nothing", "No run in this time")


def test_a_broken_job_file_is_shown_with_its_place(reader, demo, client: Client):
    file = demo.folder / "jobs" / "etl" / "broken.yaml"
    file.write_text("progam: {type: no-op}\n")
    try:
        tab = reader().open("overview")
        client.reload()
        wait_for_words(tab, ".card.bad", "broken.yaml")
        wait_for_words(tab, ".card.bad", "progam")
    finally:
        file.unlink()
        client.reload()
    tab.wait_for_function("() => !deep('.broken').length")


def test_a_phone_has_room_for_every_page(reader, client):
    page = reader(width=390, height=800)
    run = client.adhoc("echo hello").wait(30)

    for address in ("overview", "timeline", f"run?id={run.run_id}", "jobs", "job?id=sales/report", "adhoc"):
        tab = page.open(address)
        assert tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), address
        assert tab.evaluate(WIDE_TABLES) == [], address


#: Remembers, also over a page that is loaded anew, when the connection was told to be gone.
WATCH = """
() => {
  window.is_of_before = true
  sessionStorage.removeItem("red")
  const link = deep(".link")[0]
  const look = () => { if (link.dataset.colour === "red") { sessionStorage.red ??= Date.now() } }
  new MutationObserver(look).observe(link, {attributes: true})
}"""


@pytest.mark.alone
def test_whatever_dies_is_missed_and_its_return_seen(browser, tmp_path):
    process, demo = run_demo(tmp_path)
    try:
        context = browser.new_context()
        context.add_init_script(DEEP)
        context.request.get(f"{demo.url}/?token={demo.token}")
        with demo.client() as client:
            run = client.adhoc("echo begun; sleep 600", label="outlives")
        row = "deep('tr').some(tr => tr.textContent.includes(id) && tr.textContent.includes('running'))"
        fresh = "Bokeh.documents[0].get_model_by_name('fresh')?.data_source.data.run_id"
        head = "deep('.big b')[0]?.textContent === 'running'"
        shown = {
            "overview": row,
            "timeline?span=1h": f"{row} && [...{fresh} ?? []].includes(id)",
            f"run?id={run.run_id}": f"{head} && deep('.blocks')[0]?.textContent.includes('begun')",
        }
        tabs = {page: context.new_page() for page in shown}
        for page, tab in tabs.items():
            tab.set_default_timeout(PATIENCE_MS)
            tab.goto(f"{demo.url}/dash/{page}")

        def are_right(timeout):
            for page, tab in tabs.items():
                is_live = "!window.is_of_before && deep('.link')[0]?.dataset.colour === 'green'"
                tab.wait_for_function(f"id => {is_live} && {shown[page]}", arg=run.run_id, timeout=timeout)

        def miss(kill):
            for tab in tabs.values():
                tab.evaluate(WATCH)
            at = time.time()
            kill()
            for tab in tabs.values():
                tab.wait_for_function("() => sessionStorage.red")
                assert tab.evaluate("() => Number(sessionStorage.red)") / 1000 - at < 5

        are_right(PATIENCE_MS)
        log = (demo.folder / "state" / "server.log").read_text()
        (dashboards,) = re.findall(r"the dashboards process is (\d+)", log)
        # Of one that has only just been drawn, too.
        tabs["overview"].reload()
        tabs["overview"].wait_for_function("() => deep('.link .word').length")
        miss(lambda: os.kill(int(dashboards), signal.SIGKILL))
        wait_for_dashboards(demo)
        are_right(10_000)

        miss(process.kill)
        process.communicate(timeout=30)
        # Meanwhile what is seen is of the last moment that is known, and nothing can be done.
        tab = tabs[f"run?id={run.run_id}"]
        tab.evaluate("() => deep('button[data-action=stop]')[0].click()")
        tab.wait_for_function("() => deep('.cut-off b').some(e => !e.hidden)")
        assert tab.evaluate("() => deep('dialog[open]').length") == 0
        then = tab.evaluate("() => apsis.now()")
        tab.wait_for_function("then => Date.now() > then + 1000 && apsis.now() === then", arg=then)
        process, _ = run_demo(tmp_path, port=int(demo.url.rpartition(":")[2]))
        are_right(10_000)

        with demo.client() as client:
            client.run(run.run_id).stop()
        for tab in tabs.values():
            tab.wait_for_function("() => deep('.state, .big b').some(e => e.textContent === 'failure')")
        context.close()
    finally:
        end_demo(process)


# ---- Pictures ----


def test_each_page_is_painted_in_light_and_dark_and_kept_from_nobody(browser, tmp_path):
    PICTURES.mkdir(parents=True, exist_ok=True)
    process, demo = run_demo(tmp_path, history=20_000)
    try:
        with demo.client() as client:
            run = client.schedule("ml/train")
            faults = picture_all(browser, demo, run.run_id)
            with suppress(RequestRefused):  # it may have ended meanwhile
                run.stop()
    finally:
        end_demo(process)
    assert not faults, "\n".join(faults)


def picture_all(browser, demo, run_id):
    """Paint each page in both themes, and give what keeps anybody from using it."""
    faults = []
    context = browser.new_context(viewport={"width": 1400, "height": 860}, timezone_id="Europe/London")
    context.add_init_script(DEEP)
    context.request.get(f"{demo.url}/?token={demo.token}")
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    pages = [("overview", ""), ("timeline", ""), ("schedule", ""), ("late", ""), ("history", "")]
    pages += [
        ("run", f"?id={run_id}"),
        ("jobs", ""),
        ("job", "?id=sales/report"),
        ("adhoc", "?job=ml/score&arg.date=2026-11-20"),
    ]
    for name, address in pages:
        tab.goto(f"{demo.url}/dash/{name}{address}")
        settle(tab)
        if name == "run":
            wait_for_words(tab, ".blocks", "epoch   8")
        if name == "adhoc":
            wait_for_words(tab, ".plan pre", "score.py")
        if name == "jobs":
            tab.wait_for_function("() => deep('svg.strip').length > 5")
        if name == "job":
            tab.wait_for_function("() => deep('.tree .state').length > 1")
        if name == "timeline":  # its rows are there; what is drawn then is painted in the next frames
            tab.wait_for_function(
                """() => [...Bokeh.documents[0].all_models]
                  .some(model => model.type === 'Figure' && model.inner_height > 200)"""
            )
        for theme in ("light", "dark"):
            tab.emulate_media(color_scheme=theme)
            tab.evaluate(
                "() => document.fonts.ready"
                ".then(() => new Promise(done => setTimeout(() => done(true), 500)))"
            )
            tab.screenshot(path=PICTURES / f"{name}-{theme}.png")
            shade = tab.evaluate("() => getComputedStyle(deep('.card')[0]).backgroundColor")
            red, green, blue = (int(part) for part in re.findall(r"\d+", shade)[:3])
            assert (red + green + blue < 3 * 128) == (theme == "dark"), (name, shade)
            found = axe_faults(tab, rules=["color-contrast"] if theme == "dark" else None)
            faults += [f"{name}, {theme}: {fault}" for fault in found]
    context.close()
    return faults
