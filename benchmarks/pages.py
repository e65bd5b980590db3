"""The dashboards of a real server in a real browser: how soon they are drawn and answer; what readers cost.

The server is the demo on a long history. Each figure waits for what is seen, never for a time. While starts
are measured, the readers' browsers have only what the server leaves of this machine: they stand for machines
of their own.
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.core.times import format_time
from apsis_nb.demo import prepare
from benchmarks.figures import Figure, memory_mb, percentile, processor_ms, show
from benchmarks.histories import History, history, put_copy
from benchmarks.load import WARM_S, watched, write_jobs
from tests.browser.conftest import DEEP, FLAGS, PATIENCE_MS, Demo, end_demo, run_demo, settle
from tests.conftest import needs
from tests.engine.serving import processes_of

PAINT_MS, ACT_MS, FRAME_MS, WINDOW_MS = 3000, 500, 35, 300
DATA_MB, SESSION_MB, MORE_LATE_PERCENT = 1, 10, 20
SESSIONS, STARTS_PER_S, SECONDS = 10, 100, 40.0
LONGEST_MS = 10_000
#: How often each interaction is repeated; the median counts.
REPEATS = 5
#: Pictures of a drag, and of a zoom by the wheel.
STEPS = 120

BARS = "Bokeh.documents[0].get_model_by_name('bars')?.data_source"
HAS_BARS = f"() => {BARS}?.data.run_id?.length > 0"
#: What a browser keeps of the pages themselves.
NO_DATA = ("text/javascript", "application/javascript", "text/css", "image/", "font/", "application/wasm")
#: In the next frame but one, what was drawn is on the screen.
PAINTED = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(
  () => done(performance.now()))))"""
#: Notes when the reader's next key, click, wheel or tap comes.
ARM = """() => {
  window.acted = undefined
  const note = event => { window.acted ??= event.timeStamp }
  for (const kind of ["keydown", "pointerdown", "click", "wheel"]) { addEventListener(kind, note, true) }
}"""
#: Whether the words of some elements are others than before; never those of times, for they tick.
IS_CHANGED = """([selector, before]) => {
  const now = deep(selector).map(e => e.textContent).join()
  return now !== before && now !== ""
}"""
#: Notes how long each frame takes, until `counting` is false.
COUNT_FRAMES = """() => {
  window.frameTimes = []; window.counting = true
  let last
  const step = at => {
    if (last !== undefined) { window.frameTimes.push(at - last) }
    last = at
    if (window.counting) { requestAnimationFrame(step) }
  }
  requestAnimationFrame(step)
}"""
#: A bar in the window that stands for one run: where its middle is on the page.
PLACE = """() => {
  const fig = Bokeh.documents[0].get_model_by_name("timeline"), {start, end} = fig.x_range
  const data = Bokeh.documents[0].get_model_by_name("bars").data_source.data
  const el = deep(".bk-Canvas")[0].getBoundingClientRect(), px = fig.inner_width / (end - start)
  const at = n => el.x + 4 + ((data.left[n] + data.right[n]) / 2 - start) * px
  const fits = n => data.runs[n] === 1 && at(n) > el.x + 50 && at(n) < el.x + fig.inner_width - 50
    && data.top[n] < 12
  const found = [...data.runs.keys()].filter(fits)
    .reduce((a, b) => data.right[b] - data.left[b] > data.right[a] - data.left[a] ? b : a)
  return [at(found), el.y + 6 + 26 * (data.top[found] + data.bottom[found]) / 2, data.run_id[found]]
}"""


@dataclass
class Visit:
    """An open page, what it asked for and what it was sent."""

    tab: Page
    painted_ms: float = math.nan  #: from its first request until its data was drawn
    data_b: int = 0  #: of all but scripts, styles, fonts and pictures; before it was compressed
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)


def measure(made: History, seconds: float = SECONDS) -> Iterator[Figure]:
    """Pages, interactions, frames, and starts beside readers."""
    with tempfile.TemporaryDirectory(dir=made.path.parent) as at:
        folder = Path(at)
        prepare(folder / "demo")
        put_copy(made, folder / "demo" / "state")
        with _demo(folder) as (_, demo), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=needs("chromium"), args=FLAGS.split())
            yield from _pages(browser, demo, made)
            yield from _interactions(browser, demo, made)
            browser.close()
        with _demo(folder) as (pid, demo):  # anew: what earlier readers took of memory is not among it
            yield from _beside_starts(pid, demo, made, seconds)


@contextlib.contextmanager
def _demo(folder: Path) -> Iterator[tuple[int, Demo]]:
    process, demo = run_demo(folder, history=0)
    try:
        yield process.pid, demo
    finally:
        end_demo(process)


# ---- Pages ----


def _addresses(made: History) -> dict[str, tuple[str, str]]:
    """The address of each page, and what is so when its data is drawn."""
    rows = "() => deep('tbody tr').length > 3"
    trend = "() => Bokeh.documents[0].get_model_by_name('durations-median').data_source.data.x.length > 3"
    return {
        "overview": ("overview", "() => deep('.card').length > 3"),
        "timeline": (f"timeline?{_window(made, 1)}", HAS_BARS),
        "schedule": ("schedule", "() => deep('table.week button.cell').length > 100"),
        "late": ("late", "() => deep('button.job').length > 3"),
        "history": ("history", trend),
        "jobs": ("jobs", "() => deep('table.jobs svg.strip').length > 3"),
        "job": ("job?id=sales/report", "() => deep('svg.strip a').length && deep('.yaml .y-key').length"),
        "run": (f"run?id=r{made.runs // 2}", "() => deep('.big b').length"),
        "adhoc": ("adhoc", "() => deep('.adhoc .choices [data-n]').length"),
        "history of a job": (f"history?job=etl/flaky&{_window(made, 90)}", trend),
        "timeline of 90 days": (f"timeline?{_window(made, 90)}", rows),
    }


def _window(made: History, days: float) -> str:
    """The last days of the history, for an address."""
    since, until = made.until - timedelta(days=days), made.until
    return f"from={format_time(since, 'second')}&to={format_time(until, 'second')}"


def _pages(browser: Browser, demo: Demo, made: History) -> Iterator[Figure]:
    """Each page for the first time, by somebody whose browser knows nothing yet."""
    for name, (address, drawn) in _addresses(made).items():
        with _reader(browser, demo) as context:
            seen = visit(context, demo, address, drawn)
            yield Figure(f"{name}: drawn, cold", seen.painted_ms, "ms", PAINT_MS)
            yield Figure(f"{name}: data sent", seen.data_b / 1e6, "MB", DATA_MB)
            yield Figure(f"{name}: other hosts asked", len(seen.hosts - {urlsplit(demo.url).netloc}), "", 0)
            yield Figure(f"{name}: errors in the console", len(seen.errors), "", 0)


@contextlib.contextmanager
def _reader(browser: Browser, demo: Demo) -> Iterator[BrowserContext]:
    """Somebody who has just logged in."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="Europe/London")
    context.add_init_script(DEEP)
    context.request.get(f"{demo.url}/?token={demo.token}")
    yield context
    context.close()


def visit(context: BrowserContext, demo: Demo, address: str, drawn: str) -> Visit:
    """Open a page, and return when it is drawn with its data."""
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    seen, kinds = Visit(tab), {}

    def asked(event: Any) -> None:
        url = urlsplit(event["request"]["url"] if "request" in event else event["url"])
        if url.scheme not in {"data", "blob"}:
            seen.hosts.add(url.netloc)

    def told(event: Any) -> None:
        if not kinds.get(event["requestId"], "").startswith(NO_DATA):
            seen.data_b += event["dataLength"]

    def answered(event: Any) -> None:
        kinds[event["requestId"]] = event["response"]["mimeType"]

    def framed(event: Any) -> None:
        frame = event["response"]
        seen.data_b += len(b64decode(frame["payloadData"]) if frame["opcode"] == 2 else frame["payloadData"])

    network = context.new_cdp_session(tab)
    network.on("Network.requestWillBeSent", asked)
    network.on("Network.webSocketCreated", asked)
    network.on("Network.responseReceived", answered)
    network.on("Network.dataReceived", told)
    network.on("Network.webSocketFrameReceived", framed)
    network.send("Network.enable")
    tab.on("pageerror", lambda error: seen.errors.append(str(error)))
    tab.on("console", lambda said: seen.errors.append(said.text) if said.type == "error" else None)
    tab.goto(f"{demo.url}/dash/{address}")
    settle(tab)
    tab.wait_for_function(drawn)
    seen.painted_ms = tab.evaluate(PAINTED)
    return seen


# ---- Interactions ----


def _interactions(browser: Browser, demo: Demo, made: History) -> Iterator[Figure]:
    addresses = _addresses(made)
    on: dict[str, Callable[[Page], Iterator[Figure]]] = {
        "overview": _on_overview,
        "timeline": _on_timeline,
        "schedule": _on_schedule,
        "late": _on_late,
        "history": _on_history,
        "jobs": _on_jobs,
        "run": _on_run,
        "adhoc": _on_adhoc,
    }
    with _reader(browser, demo) as context:
        for name, act in on.items():
            seen = visit(context, demo, *addresses[name])
            yield from act(seen.tab)
            yield Figure(f"{name}: errors in the console by then", len(seen.errors), "", 0)
            seen.tab.close()
        tab = visit(context, demo, *addresses["timeline"]).tab
        yield from _frames(tab)
        yield from _tap(tab)


def answer_ms(tab: Page, act: Callable[[], Any], seen: str, arg: Any = None) -> float:
    """From what a reader does until its answer is seen.

    Args:
        act: does it.
        seen: a function in JavaScript: true when the answer is there, false before.
        arg: what it gets.

    Returns:
        Milliseconds; infinite: nothing is seen after ten seconds.
    """
    tab.evaluate(ARM)
    act()
    answered = f"arg => ({seen})(arg) && performance.now()"
    try:
        at = tab.wait_for_function(answered, arg=arg, timeout=LONGEST_MS).json_value()
    except TimeoutError:
        return math.inf
    return float(at - tab.evaluate("() => window.acted"))


def changed_ms(tab: Page, act: Callable[[], Any], selector: str) -> float:
    """From what a reader does until the words of some elements are others."""
    before = tab.evaluate("selector => deep(selector).map(e => e.textContent).join()", selector)
    return answer_ms(tab, act, IS_CHANGED, [selector, before])


def click(tab: Page, selector: str) -> Callable[[], Any]:
    """What clicks on the first of some elements, wherever they are."""
    return lambda: tab.evaluate("selector => deep(selector)[0].click()", selector)


def _typed(tab: Page, name: str, field: str, shown: str) -> Figure:
    """A letter is typed into a filter and removed again."""
    tab.evaluate("selector => deep(selector)[0].focus()", field)
    times = []
    for n in range(2 * REPEATS):
        key = "f" if n % 2 == 0 else "Backspace"
        times.append(changed_ms(tab, lambda key=key: tab.keyboard.press(key), shown))
    return Figure(f"{name}: key stroke in the filter", statistics.median(times), "ms", ACT_MS)


def _clicked(tab: Page, name: str, selectors: list[str], shown: str) -> Figure:
    """Buttons are pressed, one after the other."""
    times = [changed_ms(tab, click(tab, selector), shown) for selector in selectors]
    return Figure(name, statistics.median(times), "ms", ACT_MS)


def _opened(tab: Page, name: str, act: Callable[[], Any], seen: str) -> Figure:
    """A dialog is opened, and closed by Escape."""
    times = []
    for _ in range(REPEATS):
        times.append(answer_ms(tab, act, seen))
        tab.keyboard.press("Escape")
        tab.wait_for_function("() => !deep('dialog[open]').length")
    return Figure(f"{name}: dialog", statistics.median(times), "ms", ACT_MS)


def _on_overview(tab: Page) -> Iterator[Figure]:
    def pressed(key: str) -> Callable[[], Any]:
        return lambda: tab.keyboard.press(key)

    yield _opened(tab, "search", pressed("/"), "() => deep('dialog.finder[open]').length")
    yield _opened(tab, "keys", pressed("?"), "() => deep('dialog[open] dd').length")
    new = "() => deep('dialog.adhoc[open] .choices [data-n]').length"
    yield _opened(tab, "new run", pressed("n"), new)
    tab.keyboard.press("/")
    tab.wait_for_function("() => deep('dialog.finder[open]').length")
    times = [changed_ms(tab, pressed(key), ".finder li b") for key in "load"[:2]]
    yield Figure("search: key stroke", statistics.median(times), "ms", ACT_MS)


def _on_timeline(tab: Page) -> Iterator[Figure]:
    yield _typed(tab, "timeline", "input[type=search]", ".rows a.job")
    older, newer = "button[aria-label=Older]", "button[aria-label=Newer]"
    yield _clicked(tab, "timeline: page turn", [older, older, newer, older, newer], "tbody a.run")
    for span in ("7d", "30d", "90d", "24h"):
        act = click(tab, f"button[data-action=span][data-value='{span}']")
        yield Figure(f"timeline: bars of {span}", _drawn_ms(tab, act), "ms", ACT_MS)


def _drawn_ms(tab: Page, act: Callable[[], Any]) -> float:
    """From what moves the window until its bars are drawn."""
    tab.evaluate(f"() => {{ window.barsWere = {BARS}.data }}")
    return answer_ms(tab, act, f"() => {BARS}.data !== window.barsWere")


def _on_schedule(tab: Page) -> Iterator[Figure]:
    yield _typed(tab, "schedule", "input[type=search]", "table.week button.cell")
    weeks = [f"button[data-action=week]:nth-child({n})" for n in (3, 3, 1, 3, 1)]
    yield _clicked(tab, "schedule: another week", weeks, "table.week thead")
    # It is not this week, so none of them is today, which is chosen then.
    days = [f"table.week thead th:nth-child({n}) button" for n in (8, 7, 8, 7, 8)]
    yield _clicked(tab, "schedule: another day", days, "h2")


def _on_late(tab: Page) -> Iterator[Figure]:
    yield _clicked(tab, "late: one job, and all", ["button.job"] * (REPEATS + 1), "h2")
    yield _typed(tab, "late", "input[type=search]", "button.job")


def _on_history(tab: Page) -> Iterator[Figure]:
    yield _typed(tab, "history", "input[aria-label=Job]", ".card button.job")
    state = ".key-state[data-value=failure]"
    yield _clicked(tab, "history: one state, and all", [state] * (REPEATS + 1), "h2 .count")
    tabs = [f"button[data-action=tab][data-value={name}]" for name in ("on_time", "drift", "cost", "ends")]
    yield _clicked(tab, "history: another table", tabs, "thead th")


def _on_jobs(tab: Page) -> Iterator[Figure]:
    yield _typed(tab, "jobs", "input[type=search]", "table.jobs a.job")
    yield _clicked(tab, "jobs: folder", ["tr[data-fold=etl] .arrow"] * (REPEATS + 1), "table.jobs a.job")


def _on_run(tab: Page) -> Iterator[Figure]:
    again = click(tab, "button[data-action=rerun]")
    yield _opened(tab, "run again", again, "() => deep('dialog[open]').length")


def _on_adhoc(tab: Page) -> Iterator[Figure]:
    yield _typed(tab, "ad hoc", ".adhoc #find", ".adhoc .choices b")


def _frames(tab: Page) -> Iterator[Figure]:
    """How smooth the timeline moves, and how soon what comes into sight is there."""
    left, top, width = tab.evaluate(
        "() => { const r = deep('.bk-Canvas')[0].getBoundingClientRect(); return [r.x, r.y, r.width] }"
    )
    x, y = left + width / 2, top + 100

    def pan() -> None:
        tab.mouse.move(x, y)
        tab.mouse.down()
        for n in range(STEPS):
            tab.mouse.move(x - 300 * math.sin(2 * math.pi * n / STEPS), y)
        tab.mouse.up()

    def zoom() -> None:
        tab.mouse.move(x, y)
        for n in range(STEPS):
            tab.mouse.wheel(0, -40 if n < STEPS / 2 else 40)

    for name, act in (("panning", pan), ("zooming", zoom)):
        tab.evaluate(COUNT_FRAMES)
        act()
        frames = tab.evaluate("() => { window.counting = false; return window.frameTimes }")
        yield Figure(f"timeline, {name}: frame, p50", percentile(frames, 0.5), "ms", FRAME_MS)
        yield Figure(f"timeline, {name}: frame, p95", percentile(frames, 0.95), "ms")
    tab.mouse.move(x, y)
    times = []
    for n in range(2 * REPEATS):
        settle(tab)
        tab.evaluate(PAINTED)
        times.append(_drawn_ms(tab, lambda n=n: tab.mouse.wheel(0, -400 if n % 2 else 400)))
    yield Figure("timeline: data for a new window, p50", percentile(times, 0.5), "ms", WINDOW_MS)
    yield Figure("timeline: data for a new window, most", max(times), "ms")


def _tap(tab: Page) -> Iterator[Figure]:
    """A tap on a bar is answered, and leads to the page of its run."""
    x, y, run_id = tab.evaluate(PLACE)
    began = time.perf_counter()
    tab.mouse.click(x, y)
    tab.wait_for_function("id => document.getElementById('opening')?.textContent.includes(id)", arg=run_id)
    yield Figure("tap, until it says what it opens", 1000 * (time.perf_counter() - began), "ms", ACT_MS)
    tab.wait_for_url("**/run?id=*")
    tab.wait_for_function("id => deep('.card').some(e => e.textContent.includes(id))", arg=run_id)
    yield Figure("tap, until the run is seen", 1000 * (time.perf_counter() - began), "ms")


# ---- Readers beside starts ----


def _beside_starts(pid: int, demo: Demo, made: History, seconds: float) -> Iterator[Figure]:
    """A hundred starts a second: without readers, with ten, and without them again.

    What they cost is told against both: a server that was just given its history is slower for a while.
    """
    write_jobs(demo.folder / "jobs", STARTS_PER_S, at_once=1)
    state = str(demo.folder / "state")
    pages = next(int(line.split()[0]) for line in processes_of(Path(state)) if "views.process" in line)
    with demo.client() as client:
        for folder in sorted(path.name for path in (demo.folder / "jobs").iterdir() if path.is_dir()):
            client.pause(path=folder)  # what its programs do on the hour is not what is measured

        def watch(name: str) -> list[Figure]:
            time.sleep(WARM_S)  # a part of the load, not a wait for something
            return list(watched(client, name, seconds))

        client.reload()
        alone = watch("no readers")
        yield from alone
        with _readers(demo, made) as more:
            more(1)
            one_mb = memory_mb(pages)
            more(SESSIONS)
            cost_mb = (memory_mb(pages) - one_mb) / (SESSIONS - 1)
            yield Figure("memory of each reader after the first", cost_mb, "MB", SESSION_MB)
            before = processor_ms(pid), processor_ms(pages), time.perf_counter()
            beside = watch(f"{SESSIONS} readers")
            after = processor_ms(pid), processor_ms(pages), time.perf_counter()
        yield from beside
        for n, name in enumerate(("server", "dashboards")):
            share = (after[n] - before[n]) / 10 / (after[2] - before[2])
            yield Figure(f"{SESSIONS} readers: processor of the {name}", share, "%")
        again = watch("no readers, again")
        yield from again
        ratio = _late_ms(beside) / statistics.mean([_late_ms(alone), _late_ms(again)])
        yield Figure("start, p99: more with readers", 100 * (ratio - 1), "%", MORE_LATE_PERCENT)


def _late_ms(figures: list[Figure]) -> float:
    return next(figure.value for figure in figures if figure.name.endswith("start, p99"))


@contextlib.contextmanager
def _readers(demo: Demo, made: History) -> Iterator[Callable[[int], None]]:
    """What opens pages until there are so many, and returns when all are drawn."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    looked_at = _addresses(made) | {"timeline": ("timeline", HAS_BARS)}  # of now, where all happens
    addresses = json.dumps(list(looked_at.values())[:7])
    process = context.Process(target=read, args=(demo, addresses, theirs))
    process.start()
    theirs.close()

    def more(count: int) -> None:
        ours.send(count)
        ours.recv()

    try:
        yield more
    finally:
        ours.close()
        process.join()


def read(demo: Demo, addresses: str, wishes: Connection) -> None:
    """What the process of the readers does: open as many pages as it is told, until nobody tells any more."""
    os.nice(19)
    pages = json.loads(addresses)
    with sync_playwright() as playwright, contextlib.suppress(EOFError):
        browser = playwright.chromium.launch(executable_path=needs("chromium"), args=FLAGS.split())
        _make_last(os.getpid())
        opened: list[Visit] = []
        with _reader(browser, demo) as context:
            while True:
                count = wishes.recv()
                while len(opened) < count:
                    opened.append(visit(context, demo, *pages[len(opened) % len(pages)]))
                wishes.send(count)


def _make_last(pid: int) -> None:
    """Let all others go before the children of a process: readers have machines of their own, and here share
    the server's.

    The browser chooses its own niceness, and is a session of its own, which Linux gives as much time as the
    session of the server: its value is set, see sched(7), "The autogroup feature". And a processor that has
    only what is idle to do counts as free for what wakes up.
    """
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended, or there are no such groups
            # After the name, which may hold anything: state, parent, group, session.
            parent, _, session = map(int, stat.read_text().rpartition(")")[2].split()[1:4])
            if parent == pid:
                if session != os.getsid(0):  # ours is that of the server, too
                    (stat.parent / "autogroup").write_text("19")
                for thread in (stat.parent / "task").iterdir():
                    os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))
                _make_last(int(stat.parent.name))


def report(made: History, seconds: float = SECONDS) -> None:
    """Measure, and print what was seen."""
    print(f"The pages in a browser, on a history of {made.runs:,} runs")
    show(measure(made, seconds))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, help="folder in which the history is kept for the next time")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="how long starts are watched, three times"
    )
    given = parser.parse_args()
    with history(given.runs, cache=given.cache) as made:
        report(made, given.seconds)


if __name__ == "__main__":
    main()
