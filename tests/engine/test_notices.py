"""What actions send: it arrives, at real servers; a storm is a few messages; nobody waits for it."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest

from apsis_nb.config import load_config
from apsis_nb.core.errors import ApsisError, NotFound
from apsis_nb.core.events import MarkRequested, RunRequested
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State
from apsis_nb.engine import Engine
from apsis_nb.engine import notices as notices_module
from apsis_nb.engine.senders import SendFailed, signature, without_secrets
from apsis_nb.wire import job_facts, run_facts
from tests.engine.outside import Call, Hook, Mailbox, subject, text
from tests.engine.serving import free_port

BAD = "if: {states: [failure, error]}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once, and no proxy stands between."""
    monkeypatch.setattr(notices_module, "DELAYS_S", (0.01, 0.01, 0.01, 0.01))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox().open() as box:
        yield box


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """For servers that a test makes itself."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server_log() -> Iterator[io.StringIO]:
    """The log of a server that tells everything."""
    root, text = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


class World:
    """A folder of jobs, a configuration, and one engine after another."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs, self.state_dir = folder, folder / "jobs", folder / "state"
        self.jobs.mkdir()
        self.settings = ""

    def write(self, job_id: str, text: str) -> None:
        file = self.jobs / f"{job_id}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def engine(self) -> Engine:
        file = self.folder / "apsis.yaml"
        file.write_text(f"jobs: {self.jobs}\nstate_dir: {self.state_dir}\n{self.settings}\n")
        return Engine(load_config(file))

    def run(self, check: Callable[[Engine], Awaitable[Any]]) -> Any:
        """Start an engine, let `check` use it, stop it."""

        async def main() -> Any:
            engine = self.engine()
            await engine.start()
            try:
                return await asyncio.wait_for(check(engine), 60)
            finally:
                await engine.stop()

        return asyncio.run(main())

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """What the store has, when no server runs."""
        with duckdb.connect(str(self.state_dir / "runs.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def steps(self) -> list[tuple[str, int]]:
        """(state, tries) of each step of a notice, in order."""
        return self.sql("SELECT state, tries FROM base.notices ORDER BY rowid")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def request(engine: Engine, job_id: str, **keys: Any) -> Run:
    return (await engine.ask(RunRequested(job_id=job_id, **keys)))[0]


async def line_of(engine: Engine, run_id: int, pattern: str) -> str:
    """The first line of a run's log that a pattern is found in, once it is there."""
    come: asyncio.Queue[str] = asyncio.Queue()

    def hear(kind: str, facts: dict[str, Any]) -> None:
        if kind == "log" and facts["run_id"] == f"r{run_id}":
            come.put_nowait(facts["message"] or "")

    unlisten = engine.listen(hear)
    for row in await asyncio.to_thread(engine.store.log, run_id):
        come.put_nowait(row["message"] or "")
    while not re.search(pattern, line := await come.get()):
        pass
    unlisten()
    return line


#: How a line begins when something arrived, and when it never will.
TOLD, GIVEN_UP = r"^\w+: .* told(,|$)", "given up"


def test_a_failure_is_told_by_mail_with_its_cause_last_lines_and_a_link(world: World, mailbox: Mailbox):
    world.settings = f'notify: {{ops: "{mailbox.url}"}}\npublic_url: https://jobs.example.org'
    world.write(
        "team/report",
        f"""
params: [date]
program: |
  for n in $(seq 30); do echo "line $n"; done
  printf "\\033[31mred\\033[0m\\n"
  exit 3
action: {{type: notify, to: ops, {BAD}}}
""",
    )

    async def check(engine: Engine) -> None:
        run = await request(engine, "team/report", args={"date": "2026-01-31"}, by="ann")
        assert await line_of(engine, run.run_id, TOLD) == "failure: ops told"
        log = await asyncio.to_thread(engine.store.log, run.run_id)
        assert [row["state"] for row in log][-2:] == ["failure", "failure"]

    world.run(check)
    (mail,) = mailbox.items
    assert subject(mail) == "failure: team/report(date=2026-01-31)"
    assert mail["To"] == "ops@example.org"
    body = text(mail)
    assert body.startswith("r1 of team/report(date=2026-01-31) ended in failure: exit code 3\ndue 20")
    assert "asked for by ann" in body
    assert "https://jobs.example.org/dash/run?id=r1\n" in body
    assert body.rstrip().endswith("line 29\nline 30\nred")
    assert ("line 12" in body, "line 11" in body) == (True, False)
    assert world.steps() == [("pending", 0), ("sent", 1)]


@pytest.mark.parametrize("name", ["text", "txt"])
def test_title_and_body_may_be_ones_own(world: World, mailbox: Mailbox, name: str):
    world.write(
        "a",
        f"""
params: [date]
program: exit 3
action:
  type: notify
  to: {mailbox.url}
  title: "{{{{ job_id }}}} {{{{ date }}}}"
  body: "{{{{ event }}}} {{{{ return_code }}}} {{{{ {name} }}}} {{{{ Date(date) + 1 }}}}"
  if: {{states: failure}}
""",
    )

    async def check(engine: Engine) -> None:
        run = await request(engine, "a", args={"date": "2026-01-31"})
        await line_of(engine, run.run_id, TOLD)

    world.run(check)
    (mail,) = mailbox.items
    assert subject(mail) == "a 2026-01-31"
    if name == "text":
        assert text(mail).strip() == "failure 3 exit code 3 2026-02-01"
    else:  # a template that fails keeps nobody from being told
        assert "ended in failure: exit code 3" in text(mail)
        assert "The template of this message fails: name 'txt' is not defined" in text(mail)


def test_a_webhook_is_tried_again_and_signed(world: World, stack: ExitStack):
    hook = stack.enter_context(Hook([503, 503]).open())
    world.settings = "secrets: {key: opensesame, team: sales}"
    world.write(
        "a",
        f"""
program: echo sorry; exit 3
action: {{type: webhook, url: "{hook.url}", secret: key, headers: {{X-Team: secret:team}}, {BAD}}}
""",
    )

    async def check(engine: Engine) -> None:
        run = await request(engine, "a", by="ann")
        first = await line_of(engine, run.run_id, "503")
        assert first.endswith("not told yet: it answered 503; tried again in 0.01s")
        await line_of(engine, run.run_id, TOLD)

    world.run(check)
    calls: list[Call] = hook.items
    assert [call.method for call in calls] == ["POST"] * 3
    told, headers = json.loads(calls[-1].body), calls[-1].headers
    assert (told["event"], told["text"], told["output"], told["again"]) == (
        "failure", "exit code 3", "sorry", False,
    )  # fmt: skip
    assert (told["run"]["run_id"], told["run"]["state"], told["run"]["by"]) == ("r1", "failure", "ann")
    assert "program" not in told["run"]
    assert (headers["content-type"], headers["x-team"]) == ("application/json", "sales")
    assert len({call.headers["webhook-id"] for call in calls}) == 1  # who gets it twice can tell
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + calls[-1].body
    mac = hmac.new(b"opensesame", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
    assert world.steps() == [("pending", 0), ("failed", 1), ("failed", 2), ("sent", 3)]


def test_a_webhook_may_say_what_another_system_wants(world: World, stack: ExitStack):
    hook = stack.enter_context(Hook().open())
    body = """'{"text": "{{ job_id }} {{ event }}"}'"""
    world.write(
        "a",
        f"program: 'true'\naction: {{type: webhook, url: '{hook.url}', method: PUT, body: {body},"
        " if: {states: success}}\n",
    )

    async def check(engine: Engine) -> None:
        run = await request(engine, "a")
        await line_of(engine, run.run_id, TOLD)

    world.run(check)
    (call,) = hook.items
    assert (call.method, json.loads(call.body)) == ("PUT", {"text": "a success"})
    assert call.headers["content-type"] == "application/json"
    assert "webhook-signature" not in call.headers


def test_a_webhook_that_only_asks_sends_no_body(world: World, stack: ExitStack):
    hook = stack.enter_context(Hook().open())
    ping = f"{{type: webhook, url: '{hook.url}', method: GET, if: {{states: success}}}}"
    world.write("a", f"program: 'true'\naction: {ping}\n")

    async def check(engine: Engine) -> None:
        run = await request(engine, "a")
        await line_of(engine, run.run_id, TOLD)

    world.run(check)
    (call,) = hook.items
    assert (call.method, call.body) == ("GET", b"")


def test_a_command_is_told_by_its_environment_and_tried_once(world: World, tmp_path: Path):
    world.write(
        "team/a",
        f"""
params: [date]
program: exit 3
action:
- type: shell
  command: |
    echo "$APSIS_EVENT $APSIS_RUN_ID $APSIS_ARG_DATE $APSIS_STATE $APSIS_EVENT_TEXT $PWD" > {tmp_path}/said
  {BAD}
- type: shell
  command: echo once >> {tmp_path}/tries; echo no such thing; exit 4
  {BAD}
""",
    )

    async def check(engine: Engine) -> None:
        run = await request(engine, "team/a", args={"date": "2026-01-31"})
        await line_of(engine, run.run_id, TOLD)
        told = await line_of(engine, run.run_id, GIVEN_UP)
        assert told.endswith("not told, given up after 1 try: exit code 4: no such thing")

    world.run(check)
    assert (tmp_path / "said").read_text().split() == [
        "failure", "r1", "2026-01-31", "failure", "exit", "code", "3", str(world.jobs / "team"),
    ]  # fmt: skip
    assert (tmp_path / "tries").read_text() == "once\n"


def test_what_cannot_arrive_is_given_up_with_the_reason(world: World, stack: ExitStack):
    gone = stack.enter_context(Hook([404]).open())
    world.settings = f"notify: {{nobody: '{Mailbox().url}'}}"
    ways = {
        "refused": f"{{type: webhook, url: 'http://127.0.0.1:{free_port()}/x', {BAD}}}",
        "gone": f"{{type: webhook, url: '{gone.url}', {BAD}}}",
        "unnamed": f"{{type: notify, to: nobdy, {BAD}}}",
        "unmailed": f"{{type: notify, to: nobody, {BAD}}}",
        "strange": f"{{type: notify, to: 'strange://x', {BAD}}}",
        "keyless": f"{{type: webhook, url: '{gone.url}', secret: key, {BAD}}}",
    }
    for job_id, action in ways.items():
        world.write(job_id, f"program: exit 3\naction: {action}\n")

    async def check(engine: Engine) -> dict[str, str]:
        runs = {job_id: await request(engine, job_id) for job_id in ways}
        return {job_id: await line_of(engine, run.run_id, GIVEN_UP) for job_id, run in runs.items()}

    told = world.run(check)
    assert re.search(r"after 5 tries: it cannot be reached: .*refused", told["refused"])
    assert told["gone"].endswith("after 1 try: it answered 404")
    assert told["unnamed"].endswith(
        "after 1 try: there is no 'nobdy' under 'notify' in the server's configuration:"
        " did you mean 'nobody'?"
    )
    assert "nobody not told, given up after 5 tries: " in told["unmailed"]
    assert told["strange"].endswith("after 1 try: apprise does not know such an address: strange://")
    assert told["keyless"].endswith("there is no 'key' under 'secrets' in the server's configuration")


# -- storms, and targets that hang


def test_a_storm_of_failures_is_a_few_messages(world: World, mailbox: Mailbox):
    world.settings = f'notify: {{ops: "{mailbox.url}", group_window: 0.2s}}'
    world.write("a", f"program: {{type: no-op, success: false}}\naction: {{type: notify, to: ops, {BAD}}}\n")
    world.write("b", "program: {type: no-op}\naction: {type: notify, to: ops, if: {states: success}}\n")

    async def check(engine: Engine) -> None:
        await engine.ask(RunRequested(job_id="a", count=200))
        last = await request(engine, "b")
        await line_of(engine, last.run_id, TOLD)

    world.run(check)
    assert 1 < len(mailbox.items) <= 4
    subjects = [subject(mail) for mail in mailbox.items]
    assert any(re.fullmatch(r"\d+ (more|events): \d+ failure(, 1 success)?", line) for line in subjects)
    body = max((text(mail) for mail in mailbox.items), key=len)
    assert re.search(r"r\d+ of a ended in failure", body)
    assert re.search(r"and \d+ more: a \(\d+\)", body)
    sent = world.sql("SELECT count(*), count(DISTINCT run_id) FROM base.notices WHERE state = 'sent'")
    assert sent == [(201, 201)]


def test_a_target_that_hangs_delays_no_run_and_no_other_target(world: World, stack: ExitStack):
    go = threading.Event()
    stack.callback(go.set)
    hanging = stack.enter_context(Hook(before=lambda: go.wait(30)).open())
    hook = stack.enter_context(Hook().open())
    for job_id, url in (("slow", hanging.url), ("quick", hook.url)):
        world.write(
            job_id,
            f"program: {{type: no-op}}\naction: {{type: webhook, url: '{url}', if: {{states: success}}}}",
        )

    async def check(engine: Engine) -> None:
        await engine.ask(RunRequested(job_id="slow", count=20))
        last = await request(engine, "quick")
        await line_of(engine, last.run_id, TOLD)
        assert not engine.live  # all have ended, and the hanging calls go on
        assert engine.health()["notices"] >= 20

    world.run(check)
    assert world.sql("SELECT count(*) FROM base.notices WHERE state = 'sent'") == [(1,)]


# -- restarts


@pytest.mark.parametrize("kind", ["notify", "webhook"])
def test_what_did_not_arrive_is_sent_by_the_next_server_which_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.setattr(notices_module, "DELAYS_S", (60.0,) * 4)
    outside = Mailbox() if kind == "notify" else Hook()  # nobody is there yet
    # Their secrets stand in the job file alone: the store has not got them.
    action = {
        "notify": f"to: '{outside.url}&name=s3cret'",
        "webhook": f"url: '{outside.url}', headers: {{Authorization: Bearer s3cret}}",
    }[kind]
    world.write("a", f"program: exit 3\naction: {{type: {kind}, {action}, {BAD}}}\n")

    async def fail(engine: Engine) -> None:
        await request(engine, "a")
        await line_of(engine, 1, "not told yet")

    async def take_up(engine: Engine) -> None:
        await line_of(engine, 1, TOLD)

    async def observe(engine: Engine) -> None:
        assert engine.notices.under_way == 0

    world.run(fail)
    with outside.open():
        world.settings = "observe: true"
        world.run(observe)
        assert world.steps() == [("pending", 0), ("failed", 1)]
        world.settings = ""
        world.run(take_up)
    (came,) = outside.items
    if isinstance(came, Call):
        assert json.loads(came.body)["again"] is True
        assert came.headers["authorization"] == "Bearer s3cret"
    else:
        assert "This may be a repeat after a restart of the server." in text(came)
        assert "r1 of a ended in failure: exit code 3" in text(came)
    assert world.steps() == [("pending", 0), ("failed", 1), ("sent", 2)]


def test_an_address_that_stands_nowhere_any_more_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notices_module, "DELAYS_S", (60.0,) * 4)
    world.write("a", f"program: exit 3\naction: {{type: notify, to: '{Mailbox().url}', {BAD}}}\n")

    async def fail(engine: Engine) -> None:
        await request(engine, "a")
        await line_of(engine, 1, "not told yet")

    async def take_up(engine: Engine) -> None:
        assert re.search(r"mailto://\*\*\*#\w+ stands in no job file", await line_of(engine, 1, GIVEN_UP))

    world.run(fail)
    world.write("a", "program: exit 3\n")
    world.run(take_up)


def test_a_server_that_ends_sends_what_waits_to_be_gathered(world: World, mailbox: Mailbox):
    world.settings = f'notify: {{ops: "{mailbox.url}", group_window: 1h}}'
    world.write("a", f"program: exit 3\naction: {{type: notify, to: ops, {BAD}}}\n")

    async def check(engine: Engine) -> None:
        await request(engine, "a")
        await line_of(engine, 1, TOLD)
        second = await request(engine, "a")
        await line_of(engine, second.run_id, "exit code 3")

    world.run(check)
    assert len(mailbox.items) == 2
    assert [state for state, _ in world.steps()] == ["pending", "sent", "pending", "sent"]


def test_a_mark_that_lets_actions_follow_sends_one_more(world: World, stack: ExitStack):
    hook = stack.enter_context(Hook().open())
    when = "if: {states: [failure, success]}"
    world.write("a", f"program: exit 3\naction: {{type: webhook, url: '{hook.url}', {when}}}\n")

    async def check(engine: Engine) -> None:
        await request(engine, "a")
        await line_of(engine, 1, TOLD)
        ended = await asyncio.to_thread(engine.store.finished, 1)
        assert ended is not None
        await engine.ask(MarkRequested(original=ended, state=State.SUCCESS, actions=True, by="ann"))
        await line_of(engine, 1, "success: .* told")

    world.run(check)
    first, second = hook.items
    assert json.loads(second.body)["text"] == "marked as success by ann"
    assert first.headers["webhook-id"] != second.headers["webhook-id"]


# -- recoveries and lateness, with a real clock


def test_a_recovery_is_known_over_a_restart(world: World, stack: ExitStack, tmp_path: Path):
    hook = stack.enter_context(Hook().open())
    world.write(
        "a",
        f"""
program: test -e {tmp_path}/mended
action: {{type: webhook, url: "{hook.url}", if: {{recovered: true}}}}
""",
    )

    async def fail(engine: Engine) -> None:
        run = await request(engine, "a")
        await line_of(engine, run.run_id, "exit code 1")

    async def succeed(engine: Engine) -> None:
        run = await request(engine, "a")
        await line_of(engine, run.run_id, TOLD)

    world.run(fail)
    (tmp_path / "mended").touch()
    world.run(succeed)
    (call,) = hook.items
    assert json.loads(call.body)["event"] == "recovered"


def test_a_run_that_does_not_finish_in_time_is_told_of_while_it_runs(
    world: World, stack: ExitStack, tmp_path: Path
):
    hook = stack.enter_context(Hook().open())
    world.write(
        "a",
        f"""
schedule: {{type: interval, interval: 1, max_runs: 1}}
late: {{finish: 0.5}}
program: echo begun; until [ -e {tmp_path}/go ]; do sleep 0.05; done
action: {{type: webhook, url: "{hook.url}", if: {{late: true}}}}
""",
    )

    async def check(engine: Engine) -> None:
        (call,) = (await asyncio.to_thread(hook.wait_for, 1))[:1]
        told = json.loads(call.body)
        assert (told["event"], told["run"]["state"], told["run"]["late"]) == ("late", "running", True)
        assert told["text"].startswith("late: should have finished by 20")
        assert told["output"] == "begun"
        (tmp_path / "go").touch()
        run_id = int(told["run"]["run_id"][1:])
        await line_of(engine, run_id, TOLD)

    world.run(check)


# -- actions of the server


def test_an_action_of_the_configuration_follows_the_runs_of_all_jobs(world: World, mailbox: Mailbox):
    world.settings = f'notify: {{ops: "{mailbox.url}"}}\naction: {{type: notify, to: ops, {BAD}}}'
    world.write("a", "program: exit 3\n")

    async def check(engine: Engine) -> None:
        await request(engine, "a")
        await line_of(engine, 1, TOLD)

    world.run(check)
    assert subject(mailbox.items[0]) == "failure: a"


def test_a_secret_that_is_not_there_is_told_at_the_start(world: World):
    for settings, said in (
        (
            "notify: {ops: env:NOT_SET_ANYWHERE}",
            "notify.ops: the environment of the server has no NOT_SET_ANYWHERE",
        ),
        ("secrets: {key: file:nowhere}", f"secrets.key: {world.folder}/nowhere cannot be read: No such file"),
    ):
        world.settings = settings
        with pytest.raises(ApsisError, match=re.escape(said)):
            world.run(lambda engine: asyncio.sleep(0))


# -- a test message


def test_a_test_message_arrives_or_says_why_not(
    world: World, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPS", mailbox.url)
    world.settings = f"name: night\nnotify: {{ops: env:OPS, gone: '{Mailbox().url}'}}"

    async def check(engine: Engine) -> None:
        await engine.notices.test("ops")
        with pytest.raises(NotFound, match="there is no 'nobody' under 'notify'"):
            await engine.notices.test("nobody")
        with pytest.raises(NotFound, match="there is no 'mailto://a' under 'notify'"):
            await engine.notices.test("mailto://a")  # only whom the configuration names
        with pytest.raises(SendFailed):
            await engine.notices.test("gone")

    world.run(check)
    assert subject(mailbox.items[0]) == "apsis_nb: a test"
    assert text(mailbox.items[0]).startswith("This is a test. The server night reaches you.")


# -- secrets


def test_no_secret_is_in_the_store_the_log_or_what_is_told(
    world: World, stack: ExitStack, server_log: io.StringIO
):
    hook = stack.enter_context(Hook([500, 404]).open())
    dead = free_port()
    world.settings = f"""
notify: {{ops: "mailto://user:s3cret@127.0.0.1:{dead}?from=a@b.example&to=c@d.example&mode=insecure", hook: "json://127.0.0.1:{dead}/s3cret"}}
secrets: {{key: s3cret, address: "{hook.url}?token=s3cret"}}
"""
    world.write(
        "a",
        f"""
program: exit 3
action:
- {{type: notify, to: [ops, hook], {BAD}}}
- {{type: webhook, url: address, secret: key, {BAD}}}
""",
    )

    async def check(engine: Engine) -> None:
        await request(engine, "a")
        for name in ("ops", "hook", "address"):
            await line_of(engine, 1, f"{name} not told, given up")
        assert "s3cret" not in repr(engine.config)

    world.run(check)
    assert "s3cret" in hook.items[0].path
    assert "s3cret" not in server_log.getvalue()
    for file in world.state_dir.rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file


def test_a_secret_of_a_job_file_is_nowhere_but_in_its_text(
    world: World, stack: ExitStack, server_log: io.StringIO
):
    hook = stack.enter_context(Hook([500, 404]).open())
    world.write(
        "a",
        f"""
program: exit 3
action: {{type: webhook, url: "{hook.url}?token=s3cret", headers: {{X: s3cret}}, {BAD}}}
""",
    )

    async def check(engine: Engine) -> str:
        run = await request(engine, "a")
        await line_of(engine, 1, GIVEN_UP)
        log = await asyncio.to_thread(engine.store.log, run.run_id)
        return f"{log} {run_facts(run, run.state_at)} {job_facts(engine.jobs['a'])} {run!r}"

    assert "s3cret" not in world.run(check) + server_log.getvalue()
    assert "not told, given up" in server_log.getvalue()
    for table in ("run_log", "notices", "runs", "programs"):
        assert "s3cret" not in str(world.sql(f"SELECT * FROM base.{table}"))


def test_what_a_library_says_is_told_without_secrets():
    said = without_secrets(
        "cannot connect to hooks.example:443/services/T00/s3cret: no route",
        "https://hooks.example/services/T00/s3cret",
    )
    assert "s3cret" not in said
    assert "no route" in said


def test_a_secret_may_be_in_base_64_as_the_standard_has_it():
    # The example of github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
    body = b'{"test": 2432232314}'
    secret, message_id, stamp = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
    )
    assert signature(secret, message_id, stamp, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    with pytest.raises(SendFailed, match="not in base 64"):
        signature("whsec_%%%", message_id, stamp, body)
