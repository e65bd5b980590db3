"""The stream of what happens: in order, resumable, and never in the way."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from apsis_nb.server import events as events_module
from apsis_nb.server.events import BEHIND_BYTES, RING_EVENTS, TYPES, Events, Listener
from tests.server.conftest import Served, schedule, serving, until, write_jobs

ALL = frozenset(TYPES)
RUN = frozenset({"run"})


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(10):
            await work()

    asyncio.run(in_time())


def read(data: bytes) -> list[tuple[str | None, str, Any]]:
    """(id, kind, facts) of the events of a piece of the stream."""
    found = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


async def take(listener: Listener) -> list[tuple[str | None, str, Any]]:
    return read(await listener.take(5))


def run_event(n: int, state: str = "running") -> dict[str, Any]:
    return {"run_id": f"r{n}", "state": state}


def test_the_first_event_is_a_hello() -> None:
    async def work() -> None:
        with Events("boot", "1.2").listener(ALL) as listener:
            assert await take(listener) == [("boot-0", "hello", {"boot_id": "boot", "version": "1.2"})]

    run(work)


def test_an_event_comes_at_once_and_those_that_follow_soon_come_together() -> None:
    async def work() -> None:
        events, loop = Events("boot", "1"), asyncio.get_running_loop()
        with events.listener(ALL) as listener:
            await take(listener)
            began = loop.time()
            events.publish("run", run_event(1))
            assert await take(listener) == [("boot-1", "run", run_event(1))]
            assert loop.time() - began < events_module.BATCH_S / 2
            for n in (2, 3, 4):
                events.publish("run", run_event(n))
            assert [e[0] for e in await take(listener)] == ["boot-2", "boot-3", "boot-4"]
            assert loop.time() - began >= events_module.BATCH_S * 0.9

    run(work)


def test_of_one_run_only_the_newest_state_of_a_batch_is_sent() -> None:
    async def work() -> None:
        events = Events("boot", "1")
        with events.listener(ALL) as listener:
            await take(listener)
            for state in ("starting", "running", "success"):
                events.publish("run", run_event(1, state))
                events.publish("log", run_event(1, state))
            told = await take(listener)
            assert [(kind, facts["state"]) for _, kind, facts in told] == [
                ("log", "starting"),
                ("log", "running"),
                ("run", "success"),
                ("log", "success"),
            ]

    run(work)


def test_a_listener_gets_only_the_kinds_it_wants() -> None:
    async def work() -> None:
        events = Events("boot", "1")
        with events.listener(RUN) as runs, events.listener(frozenset({"job"})) as jobs:
            await take(runs)
            await take(jobs)
            events.publish("job", {"job_id": "a"})
            events.publish("run", run_event(1))
            assert [kind for _, kind, _ in await take(runs)] == ["run"]
            assert [kind for _, kind, _ in await take(jobs)] == ["job"]

    run(work)


def test_who_comes_back_gets_what_it_missed_and_nothing_twice() -> None:
    async def work() -> None:
        events = Events("boot", "1")
        with events.listener(ALL) as first:
            await take(first)
            events.publish("run", run_event(1))
            ((last_id, _, _),) = await take(first)
        for n in (2, 3):
            events.publish("run", run_event(n))
        with events.listener(ALL, last_id) as again:
            told = await take(again)
            assert [(i, kind) for i, kind, _ in told] == [
                ("boot-1", "hello"),  # its id is where the listener stands: a break here loses nothing
                ("boot-2", "run"),
                ("boot-3", "run"),
            ]
            events.publish("run", run_event(4))
            assert [i for i, _, _ in await take(again)] == ["boot-4"]

    run(work)


def test_a_listener_does_not_get_what_came_before_it_though_it_was_not_sent_yet() -> None:
    async def work() -> None:
        events = Events("boot", "1")
        with events.listener(ALL) as first:
            await take(first)
            events.publish("run", run_event(1))
            events.publish("run", run_event(2))
            with events.listener(ALL) as second:
                assert [i for i, _, _ in await take(second)] == ["boot-2"]
                events.publish("run", run_event(3))
                assert [i for i, _, _ in await take(second)] == ["boot-3"]
                told = await take(first)
                assert [i for i, _, _ in told] == ["boot-1", "boot-2", "boot-3"]

    run(work)


@pytest.mark.parametrize("last_id", ["other-1", "boot-99", "boot-x", "x", "boot-1"])
def test_who_was_away_too_long_is_told_to_read_everything_again(last_id: str) -> None:
    async def work() -> None:
        events = Events("boot", "1")
        for n in range(RING_EVENTS + 5):
            events.publish("run", run_event(n))
        known = last_id if last_id != "boot-99" else f"boot-{RING_EVENTS + 6}"
        with events.listener(ALL, known) as listener:
            told = await take(listener)
            assert [(i, kind) for i, kind, _ in told] == [
                (None, "hello"),
                (f"boot-{RING_EVENTS + 5}", "resync"),
            ]

    run(work)


def test_as_much_as_the_ring_holds_can_be_missed() -> None:
    async def work() -> None:
        events = Events("boot", "1")
        for n in range(RING_EVENTS + 5):
            events.publish("run", run_event(n))
        with events.listener(ALL, "boot-5") as listener:
            assert len(await take(listener)) == 1 + RING_EVENTS

    run(work)


def test_nothing_is_sent_but_a_heartbeat_when_nothing_happens() -> None:
    async def work() -> None:
        with Events("boot", "1").listener(ALL) as listener:
            await take(listener)
            assert await listener.take(0.01) == b": \n\n"

    run(work)


def test_who_does_not_read_is_sent_away_and_the_others_go_on() -> None:
    async def work() -> None:
        events = Events("boot", "1")
        with events.listener(RUN) as slow, events.listener(RUN) as quick:
            await take(quick)
            while not slow.ended.is_set():
                events.publish("run", run_event(1) | {"message": "x" * (1 << 20)})
                assert await take(quick)
            assert slow.waiting_bytes < BEHIND_BYTES + (4 << 20)
            events.publish("run", run_event(2))
            assert await take(quick)

    run(work)


# -- over HTTP


def stream(served: Served, **settings: Any) -> Any:
    given: dict[str, Any] = {"headers": served.bearer, "trust_env": False, "verify": False, "timeout": 20}
    given["headers"] = served.bearer | settings.pop("headers", {})
    return httpx2.stream("GET", f"{served.url}/api/v1/events", **(given | settings))


def blocks(response: httpx2.Response) -> Iterator[tuple[str | None, str, Any]]:
    """The events of a stream as they come."""
    block = b""
    for line in response.iter_lines():
        if line:
            block += line.encode() + b"\n"
        else:
            yield from read(block + b"\n")
            block = b""


def test_a_run_is_seen_to_start_and_to_end(served: Served, api: httpx2.Client) -> None:
    with stream(served, params={"types": "run"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        told = blocks(response)
        (_, kind, hello) = next(told)
        assert (kind, hello["boot_id"]) == ("hello", served.engine.boot_id)
        run_id = schedule(api, "ops/hello")
        for _, kind, facts in told:
            assert kind == "run"
            if facts["run_id"] == run_id and facts["state"] == "success":
                break


def test_a_late_run_is_heard_of_as_it_becomes_late(tmp_path: Path) -> None:
    job = (
        "schedule: {type: interval, interval: 1s, max_runs: 1}\n"
        "condition: {type: const, value: false}\n"
        "late: {start: 0.2s, finish: 0.5s}\n"
        "program: {type: no-op}\n"
    )
    with serving(tmp_path) as served, stream(served, params={"types": "late"}) as response:
        told = blocks(response)
        assert next(told)[1] == "hello"
        # Only now, for a run is told to be late once, and nobody hears it later.
        write_jobs(tmp_path / "jobs", {"held": job})
        httpx2.post(f"{served.url}/api/v1/jobs/reload", headers=served.bearer, trust_env=False, verify=False)
        kinds: dict[str, dict[str, Any]] = {}
        for _, kind, facts in told:
            assert kind == "late"
            kinds.setdefault(facts["kind"], facts)
            if len(kinds) == 3:
                break
        run_id = kinds["start"]["run_id"]
        assert kinds["start"]["message"].endswith("held: the constant false")
        assert kinds["finish"]["message"].startswith("late: should have finished by ")
        assert (kinds["finish"]["run_id"], kinds["finish"]["state"]) == (run_id, "waiting")
        missed = kinds["missed"]
        assert (missed["job_id"], missed["args"], missed["state"]) == ("held", {}, "skipped")
        assert missed["message"].startswith("busy: 1 of at most 1 runs")
        assert missed["run_id"] != run_id


def test_a_break_of_the_connection_loses_nothing(served: Served, api: httpx2.Client) -> None:
    with stream(served) as response:
        ((last_id, _, _)) = next(blocks(response))
    run_id = schedule(api, "ops/hello")
    with stream(served, headers={"Last-Event-ID": last_id}) as response:
        for _, kind, facts in blocks(response):
            if kind == "log" and facts["run_id"] == run_id and facts["state"] == "success":
                break


def test_a_kind_that_does_not_exist_is_told_so(api: httpx2.Client) -> None:
    response = api.get("/events", params={"types": "run,runs"})
    assert response.status_code == 422
    assert "no 'runs'" in response.json()["detail"]


def test_who_leaves_is_forgotten(served: Served) -> None:
    until("those of other tests are", lambda: not served.events._listeners)
    with stream(served) as response:
        told = blocks(response)  # a generator that nobody holds closes the response
        next(told)
        assert len(served.events._listeners) == 1
    until("it is forgotten", lambda: not served.events._listeners)


def test_the_streams_end_when_the_server_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("stops")) as served:
        opened = stream(served)
        response = opened.__enter__()
        told = blocks(response)
        next(told)
    assert list(told) == []  # ended in order: no error, nothing cut off
    opened.__exit__(None, None, None)
