"""The wheel, installed in an environment elsewhere, does what the checkout does."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from apsis_nb import __version__
from apsis_nb.views.pages import page_files
from tests.client.serving import environment

ROOT = Path(__file__).parents[2]
WITHIN_S = 180.0  # its modules are compiled at the first import

pytestmark = [pytest.mark.wheel, pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`apsis-nb` of an environment that has the wheel and its dependencies, no more."""
    venv = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(sys.executable, "-m", "venv", str(venv))
    quiet = ("-q", "--disable-pip-version-check", "--no-compile")
    run(str(venv / "bin/pip"), "install", *quiet, "-c", str(ROOT / "constraints.txt"), str(wheel))
    yield str(venv / "bin/apsis-nb")
    shutil.rmtree(venv)  # most of a gigabyte, which pytest would keep


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_every_file_of_the_package_and_the_dashboards(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    folders = {"apsis_nb": "apsis_nb", "dashboards": "apsis_nb/_dashboards"}
    ours = {
        f"{inside}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in folders.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == ours


@pytest.fixture
def server(command: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A server of one job, started in a folder that has nothing else."""
    (tmp_path / "jobs/team").mkdir(parents=True)
    (tmp_path / "jobs/team/report.yaml").write_text("program: 'true'\n")
    env = {name: value for name, value in environment(tmp_path).items() if name != "PYTHONPATH"}
    serve = [command, "serve", "jobs", "--bind", "127.0.0.1:0"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(serve, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    too_slow = threading.Timer(WITHIN_S, server.kill)
    too_slow.start()
    yield server
    too_slow.cancel()
    server.kill()
    server.communicate()


# One test, for what costs most is to install it.
def test_installed_elsewhere_it_works_and_leaves_nothing(
    server: subprocess.Popen[str], command: str, tmp_path: Path
):
    told = run(command, "version", env=environment(tmp_path))
    assert told.splitlines()[0] == f"apsis-nb {__version__}"
    assert "missing" not in told

    assert server.stdout is not None
    link = server.stdout.readline().strip()
    assert link, (tmp_path / "log").read_text()
    url, _, _ = link.partition("/?token=")

    with httpx2.Client(base_url=url, timeout=WITHIN_S) as browser:
        assert browser.get("/dash/overview").status_code in {303, 401}
        assert browser.get(link).status_code == 303
        for page in page_files():
            shown = when_started(browser, f"/dash/{page}")
            assert (shown.status_code, shown.headers["content-type"][:9]) == (200, "text/html"), shown.text
            assert re.search(r"<title>[^<]+ · apsis_nb</title>", shown.text)
            scripts = re.findall(r'(?:src|href)="(static/[^"]+\.(?:js|css)\b[^"]*)"', shown.text)
            assert len(scripts) > 5
            assert [s for s in scripts if browser.get(f"/dash/{s}").status_code != 200] == []

    running = processes_of(Path(command).parents[1])
    assert server.pid in running
    assert len(running) >= 2, "the dashboards are a process of their own"
    server.send_signal(signal.SIGTERM)
    said, _ = server.communicate(timeout=WITHIN_S)
    assert (server.returncode, said) == (0, ""), (tmp_path / "log").read_text()
    assert processes_of(Path(command).parents[1]) == []
    assert "Traceback" not in (tmp_path / "log").read_text()


def when_started(browser: httpx2.Client, page: str) -> httpx2.Response:
    """The page; until the dashboards process is up it is asked for again as often as the answer says."""
    give_up = time.monotonic() + WITHIN_S
    while True:
        answer = browser.get(page)
        if answer.status_code != 503 or time.monotonic() > give_up:
            return answer
        time.sleep(float(answer.headers["retry-after"]))


def processes_of(venv: Path) -> list[int]:
    """The processes whose command line names a program of the environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if words[0].startswith(os.fsencode(venv)):
            found.append(int(folder.name))
    return found
