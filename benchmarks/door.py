"""Many who ask, and many who listen: do starts stay on time, and is everybody answered?

50,000 requests from 32 connections beside 200 starts of /bin/true a second; then 200 listeners to the events
of 1,000 no-op runs a second, beside the same without listeners.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.client import Client
from benchmarks.figures import Figure, percentile, show
from tests.engine.serving import Server

REQUESTS, CONNECTIONS, STARTS_PER_S = 50_000, 32, 200
LISTENERS, RUNS_PER_S, SECONDS = 200, 1000, 15.0
LATE_MS = 100
#: With listeners the median start may take so many times as long as without.
SLOWER = 2.0
#: After the start of a load, until all is as it stays.
WARM_S = 5.0
#: What people, pages and monitors ask, in turns; one in twenty makes a run.
ASKED = (
    *("/alive", "/jobs", "/runs?limit=50", "/jobs/true0", "/runs?state=failure&limit=20", "/version"),
    *("/next/true1?n=5", "/runs?job_id=true2&limit=10", "/stats", "/pauses"),
)
MAKES = "/runs"
_JSON = "Content-Type: application/json\r\n"

JOB = """\
params: [time]
schedule: {{type: interval, interval: 1, phase: {phase:.3f}}}
program: {program}
"""
TRUE, NO_OP = "{type: argv, argv: [/bin/true]}", "{type: no-op}"


def measure(
    requests: int = REQUESTS, seconds: float = SECONDS, starts: int = STARTS_PER_S, runs: int = RUNS_PER_S
) -> Iterator[Figure]:
    """Requests beside starts, then starts with and without listeners.

    Args:
        requests: how many.
        seconds: how long starts are watched, each time.
        starts: of programs, a second, beside the requests.
        runs: no-op runs a second, of whose events the listeners hear.
    """
    with _serving(TRUE, starts, "true") as server, Client(server.url, server.token) as client:
        since = _now()
        with _beside(ask, server, requests) as told:
            answered, took_s, times, wrong = told.recv()
        yield Figure("requests answered", answered / took_s, "/s")
        yield Figure("requests that failed", wrong, "", 0)
        yield Figure("an answer, p50", percentile(times, 0.5), "ms")
        yield Figure("an answer, p99", percentile(times, 0.99), "ms")
        late = _late(client, since)
        yield Figure("starts beside them", len(late) / took_s, "/s")
        yield Figure("start, p50", percentile(late, 0.5), "ms")
        yield Figure("start, p99", percentile(late, 0.99), "ms", LATE_MS)
    with _serving(NO_OP, runs, "noop") as server, Client(server.url, server.token) as client:
        alone = _late_within(client, seconds)
        with _beside(listen, server, LISTENERS) as told:
            told.recv()  # all are connected
            listened = _late_within(client, seconds)
        heard, broken = told.recv()
        yield Figure("without listeners: runs", len(alone) / seconds, "/s")
        yield Figure("without listeners: start, p50", percentile(alone, 0.5), "ms")
        yield Figure("without listeners: start, p99", percentile(alone, 0.99), "ms")
        yield Figure("with listeners: runs", len(listened) / seconds, "/s")
        yield Figure("with listeners: start, p50", percentile(listened, 0.5), "ms")
        yield Figure("with listeners: start, p99", percentile(listened, 0.99), "ms")
        yield Figure("events heard, by all", heard / seconds, "/s")
        yield Figure("listeners that were sent away", broken, "", 0)
        ratio = percentile(listened, 0.5) / percentile(alone, 0.5)
        yield Figure("start, p50: with listeners to without", ratio, "", SLOWER)


@contextlib.contextmanager
def _serving(program: str, jobs: int, name: str) -> Iterator[Server]:
    """A server of so many jobs, each due once a second, evenly spread."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "jobs").mkdir()
        for n in range(jobs):
            (folder / f"jobs/{name}{n}.yaml").write_text(JOB.format(phase=n / jobs, program=program))
        server = Server(folder / "jobs", folder / "state").start()
        time.sleep(WARM_S)  # a part of the load, not a wait for something
        try:
            yield server
        finally:
            server.stop()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _late_within(client: Client, seconds: float) -> list[float]:
    since = _now()
    time.sleep(seconds)  # a part of the load
    return _late(client, since)


def _late(client: Client, since: datetime) -> list[float]:
    """How late each run of a schedule started since then, ms."""
    query = """
        SELECT epoch(started_at - scheduled_at) * 1000 AS late_ms FROM runs
        WHERE origin = 'schedule' AND scheduled_at >= $since::TIMESTAMP AND started_at IS NOT NULL
    """
    found: list[float] = client.sql_arrow(query, {"since": since.isoformat()}).column("late_ms").to_pylist()
    return found


@contextlib.contextmanager
def _beside(work: Callable[..., None], server: Server, number: int) -> Iterator[Connection]:
    """A process that does work with a server, and talks to us; any word tells it to end."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(server.url, server.token, number, there))
    process.start()
    there.close()  # so that we hear if it dies
    try:
        yield here
    finally:
        with contextlib.suppress(BrokenPipeError):
            here.send("end")
        process.join(30)


def ask(url: str, token: str, requests: int, told: Connection) -> None:
    """Ask so often over all connections; tell how many answers came, in what time, each time, the wrong."""
    asyncio.run(_ask(url, token, requests, told))


async def _ask(url: str, token: str, requests: int, told: Connection) -> None:
    numbers, times, wrong = iter(range(requests)), [], 0
    address = urlsplit(url)
    head = f"HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
    body = json.dumps({"job_id": "true0", "args": {"time": "now"}})

    async def connection() -> None:
        nonlocal wrong
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for n in numbers:
            if n % 20:
                request = f"GET /api/v1{ASKED[n % len(ASKED)]} {head}\r\n"
            else:
                request = f"POST /api/v1{MAKES} {head}{_JSON}Content-Length: {len(body)}\r\n\r\n{body}"
            began = time.perf_counter()
            writer.write(request.encode())
            status = await _answer(reader)
            times.append(1000 * (time.perf_counter() - began))
            wrong += status not in {200, 201}
        writer.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(connection())
    told.send((len(times), time.perf_counter() - began, times, wrong))


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer, and give its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, length = head.partition(b"\r\ncontent-length:")
    await reader.readexactly(int(length.split(b"\r\n")[0]))
    return int(head.split(b" ", 2)[1])


def listen(url: str, token: str, listeners: int, told: Connection) -> None:
    """Listen to all events until told to end; then tell how many came, and how many connections broke."""
    asyncio.run(_listen(url, token, listeners, told))


async def _listen(url: str, token: str, listeners: int, told: Connection) -> None:
    address = urlsplit(url)
    request = (
        f"GET /api/v1/events HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    connected, broken, events, everybody = 0, 0, 0, asyncio.Event()

    async def one() -> None:
        nonlocal connected, broken, events
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request.encode())
        await reader.readuntil(b"event: hello")
        connected += 1
        if connected == listeners:
            everybody.set()
        while piece := await reader.read(1 << 20):
            events += piece.count(b"\nevent: ")
        broken += 1

    tasks = [asyncio.create_task(one()) for _ in range(listeners)]
    await everybody.wait()
    events = 0
    told.send("listening")
    await asyncio.to_thread(told.recv)
    for task in tasks:
        task.cancel()
    told.send((events, broken))


def report(
    requests: int = REQUESTS, seconds: float = SECONDS, starts: int = STARTS_PER_S, runs: int = RUNS_PER_S
) -> None:
    """Measure, and print what was seen."""
    print(f"{requests:,} requests from {CONNECTIONS} connections beside {starts} starts/s of /bin/true;")
    print(f"{LISTENERS} listeners to the events of {runs:,} no-op runs/s")
    show(measure(requests, seconds, starts, runs))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long starts are watched")
    parser.add_argument("--starts", type=int, default=STARTS_PER_S, help="of programs a second")
    parser.add_argument("--runs", type=int, default=RUNS_PER_S, help="no-op runs a second")
    given = parser.parse_args()
    report(given.requests, given.seconds, given.starts, given.runs)


if __name__ == "__main__":
    main()
