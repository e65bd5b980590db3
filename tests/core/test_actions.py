"""Actions: what a job file may say of them, and that nobody sees their secrets."""

import json
from typing import Any

import pytest
from hypothesis import given

from apsis_nb.core.actions import (
    Action,
    Names,
    NotifyAction,
    ShellAction,
    WebhookAction,
    When,
    action_from_dict,
    one_for_each,
    privates_of,
)
from apsis_nb.core.checks import Checks
from apsis_nb.core.errors import JobError, JobErrors
from apsis_nb.core.events import (
    IdsReserved,
    JobsLoaded,
    ProgramFinished,
    ProgramStarted,
    Restored,
    RunRequested,
)
from apsis_nb.core.instructions import SaveNotice, SaveRun, SendNotice
from apsis_nb.core.jobs import Job, job_from_dict, job_to_dict
from apsis_nb.core.machine import Machine
from apsis_nb.core.private import Private, read_address, read_header
from apsis_nb.core.states import State
from tests.core.world import after
from tests.strategies import actions

BAD = {"states": ["failure", "error"]}


@given(actions())
def test_an_action_survives_its_dict(action: Action):
    told = json.loads(json.dumps(action.to_dict()))

    again = action_from_dict(told)

    assert again == action
    assert again.to_dict() == told


def test_each_kind_is_read():
    notify = action_from_dict({"type": "notify", "to": "ops", "if": BAD})
    webhook = action_from_dict(
        {
            "type": "webhook",
            "url": "https://h.example/x",
            "method": "PUT",
            "headers": {"X-Team": "secret:team"},
            "secret": "key",
            "body": "{{ event }}",
            "if": {"late": True},
        }
    )
    shell = action_from_dict({"type": "shell", "command": "logger x", "if": BAD})

    bad = When.of(State.FAILURE, State.ERROR)
    assert notify == NotifyAction(to=(Private("ops"),), when=bad)
    assert isinstance(webhook, WebhookAction)
    assert (webhook.method, webhook.secret, webhook.when) == ("PUT", "key", When.of("late"))
    assert shell == ShellAction(command="logger x", when=bad)
    assert [str(action) for action in (notify, shell)] == [
        "notify ops on error or failure",
        "run 'logger x' on error or failure",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"type": "notify"}, "a notify action: missing key 'to'"),
        ({"type": "notify", "to": []}, "to: must name one or more"),
        ({"type": "notify", "to": "a@b.example"}, "to: must be an address, as mailto://..., or the name of"),
        ({"type": "notify", "to": ["ops", 3]}, "to.1: must be an address, as mailto://..., or the name of"),
        ({"type": "notify", "to": "env:OPS"}, "to: must be an address, as mailto://..., or the name of"),
        ({"type": "notify", "to": "ops", "body": "{{ x }"}, "body: template: unexpected '}'"),
        ({"type": "notify", "to": "ops", "subject": "x"}, "subject: unknown key 'subject'"),
        ({"type": "webhook"}, "a webhook action: missing key 'url'"),
        ({"type": "webhook", "url": "ftp://x"}, "url: must be an address, as https://..., or the name of"),
        ({"type": "webhook", "url": "env:HOOK"}, "url: must be an address, as https://..., or the name of"),
        ({"type": "webhook", "url": "hook", "method": "DELETE"}, "method: must be one of POST, PUT"),
        (
            {"type": "webhook", "url": "hook", "headers": {"a b": "x"}},
            "headers: 'a b' is no name of a header",
        ),
        ({"type": "webhook", "url": "hook", "headers": {"A": "x\ny"}}, "headers: 'A' must be one line"),
        (
            {"type": "webhook", "url": "hook", "headers": {"A": "file:/etc/x"}},
            "headers: 'file:/etc/x' is nothing that a job file may send: give it a name under 'secrets'",
        ),
        ({"type": "webhook", "url": "hook", "secret": "a b"}, "secret: must be the name of a secret in"),
        ({"type": "shell"}, "a shell action: missing key 'command'"),
        ({"type": "shell", "command": ["a"]}, "command: must be text, not a list"),
        ({"type": "email"}, "type: unknown action type 'email': one of schedule, notify"),
    ],
)
def test_what_is_wrong_with_an_action_is_said(data: dict[str, Any], said: str):
    with pytest.raises((JobError, JobErrors)) as caught:
        action_from_dict({"if": BAD, **data})
    errors = caught.value.errors if isinstance(caught.value, JobErrors) else [caught.value]
    assert [str(error) for error in errors] == [str(errors[0])]
    assert str(errors[0]).startswith(said)


# -- secrets

HOOK = "https://hooks.example/services/T0/B0/s3cret"
MAIL = "mailto://me:s3cret@mail.example?to=ops@example.org"
SECRETIVE = [
    {"type": "notify", "to": [MAIL, "slack://s3cret/B0/x"], "if": BAD},
    {"type": "webhook", "url": HOOK, "headers": {"Authorization": "Bearer s3cret"}, "if": BAD},
]


def test_no_secret_of_a_job_is_in_what_is_told_of_it():
    job = job_from_dict("a", {"program": "true", "action": SECRETIVE})

    for told in (repr(job), json.dumps(job_to_dict(job)), *map(str, job.actions)):
        assert "s3cret" not in told
    assert "mailto://***#" in json.dumps(job_to_dict(job))
    known = [private.text for action in job.actions for private in privates_of(action)]
    assert known == [MAIL, "slack://s3cret/B0/x", HOOK, "Bearer s3cret"]


def test_an_error_does_not_repeat_what_may_be_a_secret():
    for data in (
        {"type": "notify", "to": "s3cret@@@"},
        {"type": "webhook", "url": "htps://s3cret"},
        {"type": "webhook", "url": "hook", "secret": "s3cret !"},
        {"type": "webhook", "url": "hook", "headers": {"A": "s3cret\n"}},
    ):
        with pytest.raises(JobErrors) as caught:
            action_from_dict({**data, "if": BAD})
        assert "s3cret" not in str(caught.value)


def test_what_is_shown_of_a_secret_tells_it_from_others_and_is_no_secret_when_read_back():
    one, other = read_address(MAIL), read_address(MAIL + "x")

    assert one != other
    assert one == read_address(one.shown)
    assert read_address(one.shown).text is None
    assert (read_header("secret:x").shown, read_header("secret:x").text) == ("secret:x", "secret:x")
    for text in ("Bearer x", "secret:s3cret word"):
        assert read_header(text).shown.startswith("***#")
        assert read_header(text).text == text


# -- what the machine makes of them


def machine(job: Job, *, actions: tuple[Action, ...] = ()) -> Machine:
    made = Machine(actions=actions)
    made.handle(IdsReserved(first=1, stop=1000), after(0))
    made.handle(Restored(), after(0))
    made.handle(JobsLoaded(jobs=(job,)), after(0))
    made.handle(RunRequested(job_id=job.job_id), after(1))
    made.handle(ProgramStarted(run_id=1, at=after(1)), after(1))
    return made


FAILED = ProgramFinished(run_id=1, at=after(2), outcome="failure", message="exit code 3", return_code=3)


def test_each_whom_an_action_reaches_gets_a_notice_which_is_saved_first():
    action = {"type": "notify", "to": ["ops", "boss"], "if": BAD}
    m = machine(job_from_dict("a", {"program": "true", "action": action}))

    orders = m.handle(FAILED, after(2))

    saves = [order.notice for order in orders if isinstance(order, SaveNotice)]
    sends = [order.notice for order in orders if isinstance(order, SendNotice)]
    assert saves == sends
    assert [(n.n, n.event, n.text, str(n.action)) for n in saves] == [
        (1, "failure", "exit code 3", "notify ops on error or failure"),
        (2, "failure", "exit code 3", "notify boss on error or failure"),
    ]
    assert saves[0].run.return_code == 3
    assert next(o.run for o in orders if isinstance(o, SaveRun)).notices == 2


def test_notices_are_counted_on_through_the_life_of_a_run():
    action = {"type": "shell", "command": "x", "if": {"states": ["running", "failure"]}}
    m = Machine()
    m.handle(IdsReserved(first=1, stop=1000), after(0))
    m.handle(Restored(), after(0))
    m.handle(JobsLoaded(jobs=(job_from_dict("a", {"program": "true", "action": action}),)), after(0))
    m.handle(RunRequested(job_id="a"), after(1))

    orders = m.handle(ProgramStarted(run_id=1, at=after(1)), after(1)) + m.handle(FAILED, after(2))

    assert [(o.notice.n, o.notice.event) for o in orders if isinstance(o, SaveNotice)] == [
        (1, "running"),
        (2, "failure"),
    ]


def test_an_action_of_the_server_tells_of_the_runs_of_every_job():
    tell = action_from_dict({"type": "notify", "to": "ops", "if": BAD})
    m = machine(job_from_dict("a", {"program": "true"}), actions=(tell,))

    assert [o.notice.action for o in m.handle(FAILED, after(2)) if isinstance(o, SaveNotice)] == [tell]


def test_one_for_each_leaves_other_actions_as_they_are():
    shell = ShellAction(command="x", when=When.of("late"))
    assert one_for_each(shell) == (shell,)


# -- beside the server's configuration


def faults(action: dict[str, Any], names: Names | None = None, **keys: object) -> list[str]:
    job = job_from_dict("a", {"program": "true", "action": {"if": BAD, **action}, **keys})
    return [str(fault) for fault in Checks({"a": job}, after(0), names).of(job)]


def test_the_check_finds_names_that_the_configuration_has_not():
    names = Names({"ops", "boss"}, {"key"})
    notify = {"type": "notify", "to": ["ops", "bos", MAIL]}
    webhook = {"type": "webhook", "url": "https://x", "secret": "kay", "headers": {"A": "secret:tokn"}}

    assert faults(notify) == []  # without a configuration nobody knows
    assert faults(notify, names) == [
        "action.0.to: there is no 'bos' under 'notify' in the server's configuration: did you mean 'boss'?"
    ]
    assert faults(webhook, names) == [
        "action.0.secret: there is no 'kay' under 'secrets' in the server's configuration:"
        " did you mean 'key'?",
        "action.0.headers: there is no 'tokn' under 'secrets' in the server's configuration",
    ]


def test_the_check_finds_names_that_no_message_has():
    notify = {"type": "notify", "to": "ops", "title": "{{ date }} {{ evnt }}", "body": "{{ output }}"}

    assert faults(notify, params=["date"]) == [
        "action.0.title: name 'evnt' is not defined: did you mean 'event'?"
    ]
