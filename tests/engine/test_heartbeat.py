"""The monitor hears from the server while it does its work, and what fails is said once."""

import asyncio
import logging
from pathlib import Path

import pytest

from apsis_nb.config import load_config
from apsis_nb.engine import Engine
from apsis_nb.engine.heartbeat import Heartbeat
from tests.engine.outside import Hook


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_server_beats_while_it_can_do_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "jobs").mkdir()
    with Hook().open() as monitor:
        monkeypatch.setenv("MONITOR", monitor.url)
        settings = {"jobs": str(tmp_path / "jobs"), "state_dir": str(tmp_path / "state")}
        settings |= {"heartbeat.url": "env:MONITOR", "heartbeat.every": "1"}

        async def check() -> None:
            engine = Engine(load_config(None, settings))
            await engine.start()
            await asyncio.to_thread(monitor.wait_for, 2)
            assert any(f["name"] == "heartbeat" and f["running"] for f in engine.health()["loops"])
            await asyncio.wait_for(engine.stop(), 60)

        asyncio.run(check())
    assert {call.method for call in monitor.items} == {"GET"}


def test_a_server_that_is_not_well_is_silent_and_what_fails_is_said_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    asked: list[bool] = []

    def is_well() -> bool:
        asked.append(len(asked) >= 3)  # not at first
        return asked[-1]

    async def check() -> None:
        beats = asyncio.create_task(Heartbeat(lambda: monitor.url, 0.001, is_well).beat())
        await asyncio.to_thread(monitor.wait_for, 4)
        beats.cancel()

    with Hook([503, 503]).open() as monitor:
        asyncio.run(check())
    assert asked[:4] == [False, False, False, True]
    said = [record.message for record in caplog.records if record.name == "apsis_nb.heartbeat"]
    assert said[:2] == ["the monitor does not hear us: it answered 503", "the monitor hears us again"]
