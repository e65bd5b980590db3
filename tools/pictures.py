"""Paints every page in every state in which one may meet it: `python -m tools.pictures STATE...`.

For each state it makes a sheet for each width and theme, the pictures on it, and a list of what can be
measured and is not as it should be: by axe, and as `faults.js` says.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from PIL import Image, ImageDraw
from playwright.sync_api import BrowserContext, Page, sync_playwright
from playwright.sync_api import Error as BrowserError

from tests.browser.axe import axe_faults
from tests.browser.conftest import DEEP, FLAGS, Demo, end_demo, run_demo, settle, wait_for_dashboards
from tests.client.serving import environment, served
from tests.conftest import needs

FOLDER = Path(__file__).parents[1] / "build" / "looks"
SIZES = {"wide": (1440, 900), "middle": (1024, 768), "phone": (390, 844)}
THEMES = ("light", "dark")
TALLEST = 2600  #: of a picture of a whole page
PATIENCE_MS = 20_000

#: What can be measured of a page.
FAULTS = (Path(__file__).parent / "faults.js").read_text(encoding="utf-8")

#: How much higher the window must be for nothing of the page to be scrolled out.
HIDDEN_HEIGHT = """
() => Math.max(0, ...[document.scrollingElement, ...deep("main, .main, .main-content, .MuiBox-root")]
  .map(el => (["auto", "scroll"].includes(getComputedStyle(el).overflowY) || el === document.scrollingElement)
    ? el.scrollHeight - el.clientHeight : 0))
"""


@dataclass
class Scene:
    """A server in some state, and the addresses at which its pages are looked at."""

    url: str  #: of the pages, up to their names
    token: str
    pages: dict[str, str]  #: by the name of the picture: page and query
    settled: bool = True  #: whether what is asked for comes
    once_open: Callable[[], None] | None = None  #: happens when all pages are open
    until: str = "() => true"  #: of a page, after that
    then: Mapping[str, str] = field(default_factory=dict)  #: by picture: what is done on the page before it


# ---- The states ----


def pages_of(run: str, job: str, adhoc: str) -> dict[str, str]:
    """All pages, with a run, a job and the query of a form."""
    lists = ("overview", "timeline", "schedule", "late", "history", "jobs")
    return {name: name for name in lists} | {
        "job": f"job?id={quote(job, safe='')}",
        "run": f"run?id={run}",
        "adhoc": f"adhoc?{adhoc}",
    }


def _demo(folder: Path, *, busy: bool) -> tuple[subprocess.Popen[str], Demo, dict[str, str]]:
    process, demo = run_demo(folder, history=20_000)
    with demo.client() as client:
        run = client.schedule("ml/train")
        if busy:
            client.schedule("ml/score", date="2026-11-20", model="baseline").wait(60)
            client.adhoc("echo 'no such day' >&2; exit 3", label="failed by hand").wait(30)
            client.pause(path="ops", reason="the disk is changed")
            client.jobs["etl/nightly"].backfill(start="2026-11-01", stop="2026-11-03")
    return process, demo, pages_of(run.run_id, "sales/report", "job=ml/score&arg.date=2026-11-20")


@contextmanager
def full(folder: Path) -> Iterator[Scene]:
    """Jobs, a history, and something of everything under way."""
    process, demo, pages = _demo(folder, busy=True)
    try:
        yield Scene(f"{demo.url}/dash/", demo.token, pages)
    finally:
        end_demo(process)


@contextmanager
def empty(folder: Path) -> Iterator[Scene]:
    """A server as it is after its first start: no job, no run."""
    (folder / "jobs").mkdir()
    with served(folder, {}, dashboards="process") as server:
        wait_for_dashboards(Demo(server.url, server.token, folder))
        pages = pages_of("", "", "") | {"run": "run", "job": "job", "adhoc": "adhoc"}
        yield Scene(f"{server.url}/dash/", server.token, pages)


@contextmanager
def loading(folder: Path) -> Iterator[Scene]:
    """Pages whose data does not come: they ask a server that takes up what they ask and never answers."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1000) as mute,
        panel_alone(folder, f"http://127.0.0.1:{mute.getsockname()[1]}") as url,
    ):
        yield Scene(url, "", pages_of("r1", "sales/report", "job=ml/score"), settled=False)


@contextmanager
def gone(folder: Path) -> Iterator[Scene]:
    """Pages whose server was killed while they were open."""
    process, demo, pages = _demo(folder, busy=False)
    try:
        red = "() => deep('.link')[0]?.dataset.colour === 'red'"
        yield Scene(f"{demo.url}/dash/", demo.token, pages, once_open=process.kill, until=red)
    finally:
        end_demo(process)


@contextmanager
def panel_alone(folder: Path, asks: str) -> Iterator[str]:
    """`panel serve` of all pages, which ask the server at that address; yields where they are."""
    port = "5999"
    root = Path(__file__).parents[1]
    command = [
        sys.executable, "-m", "panel", "serve", *map(str, sorted((root / "dashboards").glob("*.py"))),
        "--port", port, "--address", "127.0.0.1", "--args", "--url", asks, "--token", "none",
    ]  # fmt: skip
    with (folder / "panel.log").open("w") as log:
        process = subprocess.Popen(command, env=environment(folder), stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while "running at" not in (folder / "panel.log").read_text() and time.monotonic() < until:
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()  # it would wait for the answers to what it has asked
        process.wait()


@contextmanager
def alone(folder: Path) -> Iterator[Scene]:
    """Pages of `panel serve` whose scheduler is not there at all."""
    with panel_alone(folder, "http://127.0.0.1:9") as url:
        pages = pages_of("r1", "sales/report", "job=ml/score")
        yield Scene(url, "", pages, settled=False, until="() => deep('.wrong').length")


@contextmanager
def absent(folder: Path) -> Iterator[Scene]:
    """Addresses of what is not there, or makes no sense."""
    process, demo, _ = _demo(folder, busy=False)
    pages = {
        "run": "run?id=r999999999",
        "run-word": "run?id=%3Cb%3E",
        "job": "job?id=no/such",
        "adhoc": "adhoc?job=no/such",
        "jobs": "jobs?q=nothing+of+that+name",
        "timeline": "timeline?job=nothing&from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z",
        "history": "history?job=nothing",
        "late": "late?job=nothing",
        "schedule": "schedule?job=nothing",
    }
    try:
        yield Scene(f"{demo.url}/dash/", demo.token, pages)
    finally:
        end_demo(process)


LONG = "a" * 60 + "-very-long-name-without-any-room-to-break-it-" + "b" * 90
SPACED = "a label of many words that somebody has copied out of a ticket, " * 3
RIGHT = "دفتر/تقرير-المبيعات-اليومي"
HEBREW = "דוחות/סיכום יומי (טיוטה)"
EMOJI = "🚀 launch/👩‍👩‍👧‍👦 family 🏳️‍🌈"
MARKS = "Z̷̛̭a̵̙̋l̴̖͝g̶̟͠o̸͓͝/ée\u0301n\u0303o\u0308"
TURNED = "invoice\u202egnp.exe"


def strange_jobs() -> dict[str, dict[str, object]]:
    """Jobs with names that pages seldom see."""
    command = 'printf "%s\\n" "$APSIS_ARG_TEXT"; '
    soon = {"type": "interval", "interval": "30m", "args": {"text": "by the schedule"}}

    def job(labels: list[str], words: str, end: str = "exit 1", **more: object) -> dict[str, object]:
        return {
            "params": {"text": {"default": words, "description": words}},
            "metadata": {"description": words, "labels": labels},
            "program": {"type": "shell", "command": command + end},
            **more,
        }

    waits = {"condition": {"type": "dependency", "job_id": f"long/{LONG}"}}
    return {
        f"long/{LONG}": job([LONG, SPACED.strip()], f"{LONG} {SPACED}" * 2, schedule=soon),
        f"{LONG[:90]}/{LONG[90:180]}/deep": job([LONG], SPACED, end="sleep 600"),
        "waits/for-a-long-name": job(["short"], SPACED, **waits),
        "many/labels": job([f"label {n} of many" for n in range(300)], "A job of 300 labels.", schedule=soon),
        RIGHT: job(["تقارير", "يومي"], "يجمع مبيعات اليوم، ويرسلها (بالبريد) إلى 3 أشخاص.", schedule=soon),
        HEBREW: job(["דוח", "יומי"], "מסכם את היום: 12.5% יותר מאתמול!", end="exit 0"),
        EMOJI: job(["🔥", "👨🏽‍💻 dev"], "🚀🚀🚀 It flies. 👍🏿", end="exit 0"),
        MARKS: job(["Z̷̛̭a̵̙̋l̴̖͝g̶̟͠o̸͓͝", "e\u0301e\u0301"], "Z̷̛̭a̵̙̋l̴̖͝g̶̟͠o̸͓͝ text, and n\u0303 and o\u0308."),
        TURNED: job([TURNED], f"It turns {TURNED} what follows.", end="exit 0"),
    }


@contextmanager
def strange(folder: Path) -> Iterator[Scene]:
    """Very long names, 300 labels, right-to-left text, emoji and marks that combine."""
    jobs = {job_id: json.dumps(facts, ensure_ascii=False) for job_id, facts in strange_jobs().items()}
    with served(folder, jobs, dashboards="process") as server, server.client() as client:
        wait_for_dashboards(Demo(server.url, server.token, folder))
        runs = {job_id: client.schedule(job_id, text=f"{job_id} {SPACED}"[:300]) for job_id in jobs}
        for job_id, run in runs.items():
            if not job_id.endswith("deep") and not job_id.startswith("waits"):
                run.wait(60)
        client.pause(f"long/{LONG}", reason=SPACED)
        client.pause(path="دفتر", reason="لأسباب (خاصة)")
        pages = pages_of(runs[f"long/{LONG}"].run_id, f"long/{LONG}", f"job={quote('long/' + LONG, safe='')}")
        for name, job_id in (("labels", "many/labels"), ("right", RIGHT), ("marks", MARKS), ("emoji", EMOJI)):
            own = pages_of(runs[job_id].run_id, job_id, f"job={quote(job_id, safe='')}")
            pages |= {f"job-{name}": own["job"], f"run-{name}": own["run"]}
        pages["adhoc-right"] = f"adhoc?job={quote(RIGHT, safe='')}"
        pages["run-waits"] = f"run?id={runs['waits/for-a-long-name'].run_id}"
        pages["late-one"] = f"late?of={quote('long/' + LONG, safe='')}"
        yield Scene(f"{server.url}/dash/", server.token, pages)


#: Something opens above the page.
OPEN = "() => deep('dialog[open], [popover]').some(e => e.open || e.matches(':popover-open'))"
CLICK = "() => deep(`{}`)[0].click()"


@contextmanager
def dialogs(folder: Path) -> Iterator[Scene]:
    """What opens above pages: menus, search, forms and questions."""
    process, demo, pages = _demo(folder, busy=True)
    with demo.client() as client:
        failed = client.adhoc("exit 3", label="asked about").wait(30)
        runs = client.adhoc("sleep 600", label="runs on")
    shown = {
        "menu": ("overview", CLICK.format(".shell .more")),
        "keys": ("overview", "() => window.apsis.events.dispatchEvent(new Event('help'))"),
        "search": ("overview", "() => window.apsis.events.dispatchEvent(new Event('search'))"),
        "new-run": (pages["job"], CLICK.format("button[data-tell=adhoc]")),
        "pause": (pages["job"], CLICK.format("button[data-action=pause]")),
        "backfill": (pages["job"], CLICK.format("button[data-action='backfill?']")),
        "again": (f"run?id={failed.run_id}", CLICK.format("button[data-action=rerun]")),
        "mark": (f"run?id={failed.run_id}", CLICK.format("button[data-action=mark]")),
        "stop": (f"run?id={runs.run_id}", CLICK.format("button[data-action=stop]")),
        "days": ("history", CLICK.format("button[data-action=days]")),
        "reload": ("jobs", CLICK.format("button[data-action='reload?']")),
    }
    try:
        yield Scene(
            f"{demo.url}/dash/",
            demo.token,
            {name: page for name, (page, _) in shown.items()} | {"graph": "jobs?view=graph"},
            then={name: script for name, (_, script) in shown.items()},
        )
    finally:
        end_demo(process)


STATES: Mapping[str, Callable[[Path], AbstractContextManager[Scene]]] = {
    f.__name__: f for f in (full, empty, loading, gone, alone, absent, strange, dialogs)
}


# ---- Painting ----


def calm(tab: Page) -> None:
    """Until what was laid out anew is painted."""
    tab.evaluate(
        "() => document.fonts.ready.then(() => new Promise(done => setTimeout(() => done(true), 250)))"
    )


def paint(state: str, into: Path, pages: list[str], sizes: list[str], themes: list[str]) -> list[str]:
    """Paint one state.

    Args:
        state: a name of `STATES`.
        into: the folder of its pictures.
        pages, sizes, themes: which; no pages: all.

    Returns:
        What was measured and is not as it should be.
    """
    into.mkdir(parents=True, exist_ok=True)
    told: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        STATES[state](Path(folder)) as scene,
    ):
        browser = playwright.chromium.launch(executable_path=needs("chromium"), args=FLAGS.split())
        context = browser.new_context(viewport=_viewport("wide"), timezone_id="Europe/London")
        context.add_init_script(DEEP)
        if scene.token:
            context.request.get(f"{scene.url.removesuffix('dash/')}?token={scene.token}")
        wanted = {name: page for name, page in scene.pages.items() if not pages or name in pages}
        tabs = {}
        for name, page in wanted.items():
            tabs[name] = _open(context, scene, name, page, told)
            if scene.once_open is None:
                _paint_tab(tabs[name], scene, name, into, sizes, themes, told)
                tabs.pop(name).close()
        if scene.once_open is not None:
            scene.once_open()
        for name, tab in tabs.items():
            _paint_tab(tab, scene, name, into, sizes, themes, told)
        browser.close()
    for size in sizes:
        for theme in themes:
            sheet(into, state, size, theme, list(wanted))
    return told


def _open(context: BrowserContext, scene: Scene, name: str, page: str, told: list[str]) -> Page:
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    tab.on("pageerror", lambda error: told.append(f"{name}: {error}"))
    if scene.once_open is None:
        tab.on("console", lambda m: told.append(f"{name}: {m.text[:300]}") if m.type == "error" else None)
    tab.goto(scene.url + page)
    try:
        if scene.settled:
            settle(tab)
        else:
            tab.wait_for_function("() => deep('.card, .figure, .adhoc, .wrong').length")
        if name in scene.then:
            tab.evaluate(scene.then[name])
            tab.wait_for_function(OPEN)
    except BrowserError as error:
        told.append(f"{name}: does not settle: {str(error)[:200]}")
    return tab


def _viewport(size: str) -> dict[str, int]:
    width, height = SIZES[size]
    return {"width": width, "height": height}


def _paint_tab(
    tab: Page, scene: Scene, name: str, into: Path, sizes: list[str], themes: list[str], told: list[str]
) -> None:
    try:
        tab.bring_to_front()
        tab.wait_for_function(scene.until)
    except BrowserError as error:
        told.append(f"{name}: {str(error)[:200]}")
    told += [f"{name}: {fault}" for fault in axe_faults(tab)]
    for size in sizes:
        tab.set_viewport_size(_viewport(size))
        calm(tab)
        told += [f"{name} {size}: {fault}" for fault in tab.evaluate(FAULTS)]
        width, height = SIZES[size]
        more = tab.evaluate(HIDDEN_HEIGHT)
        for theme in themes:
            tab.emulate_media(color_scheme=theme)
            tab.set_viewport_size({"width": width, "height": min(height + int(more), TALLEST)})
            calm(tab)
            tab.screenshot(path=into / f"{name}-{size}-{theme}.png")


def sheet(into: Path, state: str, size: str, theme: str, names: list[str]) -> None:
    """All pages of a state at one width and in one theme, side by side."""
    files = [(name, into / f"{name}-{size}-{theme}.png") for name in names]
    shots = [(name, Image.open(file).convert("RGB")) for name, file in files if file.exists()]
    if not shots:
        return
    columns, width = (6, 300) if size == "phone" else (3, 640)
    scaled = [(name, shot.resize((width, round(shot.height * width / shot.width)))) for name, shot in shots]
    rows = [scaled[n : n + columns] for n in range(0, len(scaled), columns)]
    tall = [min(max(shot.height for _, shot in row), 3 * width) + 22 for row in rows]
    page = Image.new("RGB", (columns * (width + 8), sum(tall)), "#888888")
    draw = ImageDraw.Draw(page)
    top = 0
    for row, height in zip(rows, tall, strict=True):
        for n, (name, shot) in enumerate(row):
            page.paste(shot.crop((0, 0, width, min(shot.height, height - 22))), (n * (width + 8), top + 18))
            draw.text((n * (width + 8) + 4, top + 3), name, fill="#ffffff")
        top += height
    page.save(into / f"sheet-{state}-{size}-{theme}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("states", nargs="*", default=list(STATES), metavar="STATE", help=", ".join(STATES))
    parser.add_argument("--page", action="append", default=[], help="only this one; may be said again")
    parser.add_argument("--size", action="append", choices=list(SIZES), help="only this one")
    parser.add_argument("--theme", action="append", choices=THEMES, help="only this one")
    parser.add_argument("--into", type=Path, default=FOLDER, help="where the pictures go")
    said = parser.parse_args()
    for state in said.states:
        if state not in STATES:
            parser.error(f"{state} is no state: one of {', '.join(STATES)}")
        began = time.monotonic()
        told = paint(
            state, said.into / state, said.page, said.size or list(SIZES), list(said.theme or THEMES)
        )
        print(f"{state}: {said.into / state}, in {time.monotonic() - began:.0f} s")
        for line in told:
            print("  ", line)


if __name__ == "__main__":
    main()
