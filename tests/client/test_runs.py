"""Runs asked for, waited for, read and moved through the client, with a real server and real programs."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from apsis_nb.client import BadRequest, Client, NoSuch, RequestRefused, Run, RunFailed, WaitTimeout

WITHIN_S = 20.0


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def begun(run: Run) -> Run:
    """The run, once its program has said something."""
    assert next(run.pieces()) == b"up\n"
    return run


def test_a_run_says_what_its_program_wrote(client: Client):
    run = client.schedule("greet/hello", name="Ω & co")
    assert run.result(WITHIN_S) is run
    assert run.state == "success"
    assert run.args == {"name": "Ω & co"}
    assert run.output() == "hello Ω & co\n"
    assert run.output_bytes() == "hello Ω & co\n".encode()


def test_a_run_says_what_its_program_used_and_said_of_itself(client: Client):
    run = client.adhoc("echo '[1, 2]' > $APSIS_META_FILE")
    assert run.wait(WITHIN_S).meta is not None
    assert run.meta["meta"] == [1, 2]
    assert run.meta["cpu_s"] >= 0
    listed = client.run(run.run_id)
    assert listed.meta == run.meta
    assert client.schedule("waits", fifo="/no/such").wait(WITHIN_S).meta["meta"] is None


def test_a_job_is_found_by_a_part_of_its_id(client: Client):
    assert client.schedule("hello").job_id == "greet/hello"


def test_a_name_that_may_be_several_jobs_is_refused_with_the_choices(client: Client):
    with pytest.raises(RequestRefused, match="greet/again, greet/hello"):
        client.schedule("greet", name="x")


def test_result_of_a_run_that_failed_raises_with_its_last_lines(client: Client):
    with pytest.raises(RunFailed, match="exit code 3") as failed:
        client.schedule("fails").result(WITHIN_S)
    assert str(failed.value).endswith("the end is near")
    assert failed.value.facts["state"] == "failure"


def test_wait_gives_a_run_that_failed(client: Client):
    assert client.schedule("fails").wait(WITHIN_S).state == "failure"


def test_wait_ends_after_its_timeout(client: Client, fifo: Path):
    run = client.schedule("waits", fifo=fifo)
    with pytest.raises(WaitTimeout, match=f"run {run.run_id} is"):
        run.wait(0.05)
    fifo.write_text("go\n")
    assert run.wait(WITHIN_S).state == "success"


def test_output_is_read_while_it_grows(client: Client, fifo: Path):
    run = client.schedule("waits", fifo=fifo)
    pieces = run.pieces()
    assert next(pieces) == b"up\n"
    assert run.state == "running"
    fifo.write_text("it\n")
    assert b"".join(pieces) == b"got it\n"


def test_follow_prints_all_and_gives_the_finished_run(client: Client, capsys: pytest.CaptureFixture[str]):
    run = client.schedule("greet/hello", name="é").follow()
    assert capsys.readouterr().out == "hello é\n"
    assert run.state == "success"


def test_a_run_can_be_awaited(client: Client):
    async def several() -> list[Run]:
        return list(await asyncio.gather(*(client.schedule("greet/hello") for _ in range(3))))

    assert [run.state for run in asyncio.run(several())] == ["success"] * 3


def test_stop_ends_the_program(client: Client, fifo: Path):
    run = begun(client.schedule("waits", fifo=fifo))
    assert run.stop() is run
    assert run.wait(WITHIN_S).state == "failure"
    assert "SIGTERM" in run.facts["message"]


def test_a_run_can_be_stopped_at_once(client: Client, fifo: Path):
    assert client.schedule("waits", fifo=fifo).stop().wait(WITHIN_S).state == "failure"


def test_a_signal_reaches_the_program(client: Client, fifo: Path):
    run = begun(client.schedule("waits", fifo=fifo)).signal("KILL").wait(WITHIN_S)
    assert run.facts["return_code"] == -9


def test_a_signal_that_does_not_exist_is_told(client: Client, fifo: Path):
    run = begun(client.schedule("waits", fifo=fifo))
    with pytest.raises(BadRequest, match="NONSENSE"):
        run.signal("NONSENSE")
    run.stop().wait(WITHIN_S)


def test_a_run_in_the_future_can_be_skipped_or_started(client: Client):
    skipped, started = (client.schedule("greet/hello", at="+1h") for _ in range(2))
    assert skipped.state == started.state == "scheduled"
    assert skipped.skip().state == "skipped"
    assert started.start().wait(WITHIN_S).state == "success"
    with pytest.raises(RequestRefused, match="finished"):
        skipped.start()


def test_rerun_makes_another_run_with_changed_args(client: Client):
    first = client.schedule("greet/hello", name="one").wait(WITHIN_S)
    again = first.rerun(name="two").wait(WITHIN_S)
    assert again != first
    assert again.facts["rerun_of"] == first.run_id
    assert again.output() == "hello two\n"


def test_two_objects_of_one_run_are_equal(client: Client):
    run = client.schedule("greet/hello")
    assert client.run(run.run_id) == client.run(int(run.run_id[1:])) == run
    assert len({client.run(run.run_id), run}) == 1


def test_a_run_that_is_not_there(client: Client):
    with pytest.raises(NoSuch, match="r999999"):
        client.run("r999999")
    with pytest.raises(BadRequest, match="r123"):
        client.run("nonsense")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "missing args"),
        ({"date": "2026-01-31", "more": "1"}, "extra args"),
        ({"date": "31 January"}, "not a date"),
        ({"date": "2026-01-31", "kind": "long"}, "none of short, full"),
    ],
)
def test_args_that_do_not_fit_make_no_run(client: Client, args: dict[str, str], says: str):
    with pytest.raises(BadRequest, match=says):
        client.schedule("daily/report", args=args)
    assert client.list_runs(job="daily/report") == []


def test_an_ad_hoc_command_runs_here_with_this_interpreter(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    run = client.adhoc(
        "pwd; python -c 'import sys; print(sys.prefix)'; echo $WHO", label="try", env={"WHO": "me"}
    )
    assert run.result(WITHIN_S).output() == f"{tmp_path}\n{sys.prefix}\nme\n"
    assert run.facts["labels"] == ["try"]
    assert run.facts["origin"] == "ad_hoc"


def test_an_ad_hoc_command_is_no_template(client: Client):
    said = ["{{ job_id }}", "{% if %}", "{#", "a b"]
    run = client.adhoc([sys.executable, "-c", "import sys; print(sys.argv[1:])", *said]).result(WITHIN_S)
    assert run.output() == f"{said}\n"
    assert client.adhoc('a=(1 2 3); echo "${#a[@]}"').result(WITHIN_S).output() == "3\n"


def test_outputs_that_are_kept_apart_are_read_by_name_and_without(
    client: Client, capsys: pytest.CaptureFixture[str]
):
    command = "echo out; echo why >&2; echo 1 > $APSIS_OUTPUT_DIR/a.csv; exit 3"
    job = {"program": {"type": "shell", "split": True, "command": command}}
    (run,) = client._request_runs({"job": job}, None, None, ())
    assert run.follow().state == "failure"
    assert capsys.readouterr().out == "out\n"
    assert [(o["name"], o["content_type"]) for o in run.outputs()] == [
        ("stdout", "text/plain"),
        ("stderr", "text/plain"),
        ("a.csv", "text/csv"),
    ]
    assert (run.output(), run.output("stdout"), run.output("stderr")) == ("out\n", "out\n", "why\n")
    with pytest.raises(RunFailed, match="why"):
        run.result()


def test_tail_gives_the_last_lines(client: Client):
    run = client.adhoc("seq 100").result(WITHIN_S)
    assert run.output(tail=2) == "99\n100\n"


def test_a_large_output_comes_whole(client: Client):
    run = client.adhoc([sys.executable, "-c", "print('x' * 3_000_000)"]).result(WITHIN_S)
    assert len(run.output_bytes()) == 3_000_001


def test_the_log_tells_the_story(client: Client):
    log = client.schedule("fails").wait(WITHIN_S).log
    assert list(log["state"])[-2:] == ["running", "failure"]
    assert str(log["ts"].dtype) == "datetime64[us, UTC]"
    assert log["ts"].is_monotonic_increasing


def test_the_card_is_static_and_escapes_what_programs_say(client: Client):
    run = client.adhoc(
        "echo '<script>alert(1)</script>'; echo -e '\\e[31mred\\e[0m'; exit 2", label="<i>"
    ).wait(WITHIN_S)
    card = run._repr_html_()
    assert "<script" not in card
    assert "<i>" not in card
    assert "&lt;script&gt;alert(1)" in card
    assert "\x1b" not in card
    assert "failure" in card
    assert "exit code 2" in repr(run)
