"""The command line against a real server."""

import csv
import io
import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from apsis_nb.core.times import format_local, format_time, zone
from tests.cli.conftest import COMMAND, Shell
from tests.client.serving import JOBS, Served, write_jobs
from tests.engine.serving import wait_for


def listed(shell: Shell, command: str, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(shell.good(command, "--format", "json", *words))
    return rows


def listed_badly(shell: Shell, command: str) -> list[dict[str, Any]]:
    """What a command lists that ends with status 1."""
    ended = shell(command, "--format", "json")
    assert (ended.returncode, ended.stderr) == (1, "")
    return list(json.loads(ended.stdout))


def scheduled(shell: Shell, *words: str) -> dict[str, Any]:
    (row,) = json.loads(shell("schedule", *words, "--wait", "--format", "json").stdout)
    return dict(row)


def test_schedule_waits_and_tells_how_it_ended(shell: Shell):
    run = scheduled(shell, "greet/hello", "name=a b")
    assert (run["state"], run["args"]) == ("success", {"name": "a b"})
    assert shell.good("output", run["run_id"]) == "hello a b\n"


def test_schedule_wait_of_a_run_that_fails_ends_with_1(shell: Shell):
    ended = shell("schedule", "fails", "--wait", "--label", "one", "--label", "two")
    assert ended.returncode == 1
    assert "failure" in ended.stdout
    assert ended.stderr.endswith("the end is near\n")


def test_schedule_at_a_time_tells_it_on_the_readers_clock(shell: Shell):
    told = shell.good("schedule", "greet/hello", "--at", "2031-07-01T12:00:00Z")
    assert "2031-07-01 13:00:00" in told
    (run,) = listed(shell, "runs", "--times", "2031-07-01..2031-07-02")
    assert run["run_id"] in told
    assert shell.good("skip", run["run_id"]) == f"{run['run_id']} skipped greet/hello name=world\n"


def test_count_makes_several(shell: Shell):
    rows = listed(shell, "schedule", "greet/hello", "name=many", "--count", "3")
    assert len({row["run_id"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["schedule", "nonsense"], "there is no job 'nonsense'"),
        (["schedule", "greet"], "greet/again, greet/hello"),
        (["runs", "--job", "greet"], "greet/again, greet/hello"),
        (["schedule", "daily/report"], "missing args (date)"),
        (["schedule", "fails", "--at", "tomorrowish"], "tomorrowish"),
        (["run", "r999999"], "r999999"),
        (["output", "r999999"], "r999999"),
        (["sql", "DROP VIEW runs"], "SELECT"),
        (["runs", "--since", "nonsense"], "nonsense"),
        (["job", "nonsense"], "nonsense"),
        (["report", "2026-13"], "write YYYY-MM"),
        (["report", "2026-03", "-o", "no/such/file.html"], "cannot be written"),
    ],
)
def test_what_is_refused_is_one_line_and_ends_with_1(shell: Shell, words: list[str], says: str):
    ended = shell(*words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("apsis-nb: ")
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_report_writes_a_page_to_a_file_or_to_standard_output(shell: Shell):
    assert shell.good("report", "2026-03", "-o", "march.html") == ""
    page = (shell.folder / "march.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Runs of March 2026" in page
    assert shell.good("report", "2026-03").startswith("<!doctype html>")


def test_adhoc_runs_words_here_and_shell_lines(shell: Shell):
    (run,) = listed(shell, "adhoc", "--", "echo", "{{ x }}", "a  b")
    assert run["origin"] == "ad_hoc"
    shell.good("output", run["run_id"], "--follow")
    assert shell.good("output", run["run_id"]) == "{{ x }} a  b\n"
    (piped,) = listed(shell, "adhoc", "--shell", "--", "pwd; seq 3 | tail -n 1")
    assert shell.good("output", piped["run_id"], "--follow") == f"{shell.folder}\n3\n"


def test_output_is_the_bytes_and_nothing_else(shell: Shell):
    (run,) = listed(shell, "adhoc", "--shell", "--", r"printf 'a\0\xff\nno newline'")
    written = subprocess.run(
        [COMMAND, "output", run["run_id"], "--follow"], env=dict(shell.env), capture_output=True, check=True
    )
    assert written.stdout == b"a\0\xff\nno newline"


def test_a_run_is_stopped_signalled_started_and_repeated(shell: Shell, tmp_path: Path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (run,) = listed(shell, "schedule", "waits", f"fifo={fifo}")
    with subprocess.Popen(
        [COMMAND, "output", run["run_id"], "--follow"], env=dict(shell.env), stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "up\n"
        assert shell.good("signal", "USR1", run["run_id"]).split()[0] == run["run_id"]
    (ended,) = listed(shell, "run", run["run_id"])
    assert (ended["state"], ended["return_code"]) == ("failure", -10)
    again = shell.good("rerun", run["run_id"]).split()
    assert again[0] != run["run_id"]
    assert again[2] == "waits"
    with fifo.open("w") as line:  # opens once its program reads
        line.write("go\n")
    assert shell.good("output", again[0], "--follow").endswith("got go\n")
    refused = shell("stop", run["run_id"], "r999999")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 2


def test_start_does_not_wait_for_the_time(shell: Shell):
    (run,) = listed(shell, "schedule", "greet/hello", "--at", "+1h")
    assert shell.good("start", run["run_id"]).split()[1] in {"starting", "running", "success"}


def test_runs_are_listed_and_filtered(shell: Shell):
    failed = scheduled(shell, "fails", "--label", "wanted")
    assert [r["run_id"] for r in listed(shell, "runs", "--label", "wanted")] == [failed["run_id"]]
    assert {r["state"] for r in listed(shell, "runs", "--state", "failure", "--times", "1h")} == {"failure"}
    assert {r["job_id"] for r in listed(shell, "runs", "fails")} == {"fails"}
    assert [r["run_id"] for r in listed(shell, "runs", failed["run_id"])] == [failed["run_id"]]
    again = scheduled(shell, "greet/again", "name=x")
    hello = scheduled(shell, "greet/hello")
    assert [r["run_id"] for r in listed(shell, "runs", "greet", "--limit", "2", "--times", "10m")] == [
        hello["run_id"],
        again["run_id"],
    ]
    assert shell("runs", "nonsense").stderr == "no such runs\n"
    assert listed(shell, "runs", "--late") == []
    assert len(listed(shell, "runs", "--limit", "1")) == 1


def test_an_empty_listing_is_empty_but_for_a_word(shell: Shell):
    ended = shell("runs", "--times", "2001-01-01..2001-02-01")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "no such runs\n")
    assert shell.good("runs", "--times", "2001-01-01..2001-02-01", "--format", "json") == "[]\n"


def test_a_table_has_a_line_a_run_and_no_colours_in_a_pipe(shell: Shell):
    run = scheduled(shell, "greet/hello", "name=table")
    head, line = shell.good("runs", "--limit", "1", "--times", "10m").splitlines()
    assert head.split()[:3] == ["run", "job", "state"]
    assert "scheduled (Europe/London)" in head
    assert line.split()[:3] == [run["run_id"], "greet/hello", "success"]
    assert "\x1b" not in line
    assert not line.endswith(" ")


def test_csv_has_the_names_of_the_api(shell: Shell):
    scheduled(shell, "greet/hello", "name=x,y")
    (row, *_) = csv.DictReader(io.StringIO(shell.good("runs", "hello", "--format", "csv")))
    assert row["job_id"] == "greet/hello"
    assert json.loads(row["args"]).keys() == {"name"}


def test_run_and_log_tell_the_story(shell: Shell):
    run = scheduled(shell, "fails")
    told = shell.good("run", run["run_id"])
    assert told.startswith(f"{run['run_id']}  fails\n")
    for words in ("state      failure", "exit code  3", "manual, asked for by "):
        assert words in told
    states = [line["state"] for line in listed(shell, "log", run["run_id"])]
    assert states[-2:] == ["running", "failure"]
    assert "exit code 3" in shell.good("log", run["run_id"])


def test_jobs_and_job_are_readable(shell: Shell):
    assert [j["job_id"] for j in listed(shell, "jobs")] == sorted(JOBS)
    assert [j["job_id"] for j in listed(shell, "jobs", "--label", "report")] == ["daily/report"]
    assert [j["job_id"] for j in listed(shell, "jobs", "--path", "greet")] == ["greet/again", "greet/hello"]
    page = shell.good("job", "report")
    for words in (
        "daily/report\n",
        "Sums <b>up</b>",
        "date: date",
        "one of short, full, default full",
        "every day at 09:00:00",
    ):
        assert words in page
    assert page.count(" 09:00:00 ") >= 3


def test_next_tells_local_times_and_args(shell: Shell):
    told = shell.good("next", "daily/report", "-n", "2")
    assert told.startswith("daily/report: every day at 09:00:00 Europe/London")
    assert told.count(" 09:00:00 ") >= 2
    assert len(listed(shell, "next", "report", "-n", "4")) == 4


def test_sql_in_three_forms_and_from_standard_input(shell: Shell):
    query = "SELECT 1 AS a, NULL AS b, 'x,y' AS c"
    assert listed(shell, "sql", query) == [{"a": 1, "b": None, "c": "x,y"}]
    assert shell.good("sql", query, "--format", "csv") == 'a,b,c\n1,,"x,y"\n'
    assert shell.good("sql", query).splitlines()[0].split() == ["a", "b", "c"]
    assert shell.good("sql", "-", "--format", "csv", stdin="SELECT 2 AS n") == "n\n2\n"


def test_what_jobs_say_does_not_reach_the_terminal_raw(shell: Shell):
    told = shell.good("sql", "SELECT 'a' || chr(27) || '[31mb' || chr(10) || 'c' AS t")
    assert "\x1b" not in told
    assert len(told.splitlines()) == 2


def test_reload_tells_what_changes(shell: Shell, server: Served):
    file = server.jobs / "fresh.yaml"
    file.write_text("program: ['true']\n")
    try:
        assert shell.good("reload", "--dry-run") == "added fresh\n"
        assert shell.good("reload") == "added fresh\n"
        file.write_text("program: [\n")
        ended = shell("reload")
        assert ended.returncode == 1
        assert "fresh.yaml:" in ended.stderr
    finally:
        file.unlink()
        shell("reload")
    assert "nothing has changed" in shell("reload").stderr


WHY_JOBS = {
    "why/root": "program: {type: shell, command: 'echo the end is near; exit 3'}\n",
    "why/after": "condition: {type: dependency, job_id: why/root}\nprogram: 'true'\n",
    "why/later": (
        "params: {date: {type: date}, kind: {choices: [short, full], default: full}}\n"
        "schedule: {type: daily, tz: Europe/London, calendar: all, daytime: '09:00:00'}\n"
        "program: 'true'\n"
    ),
}


def test_why_says_the_causes_down_to_the_root(shell: Shell, server: Served):
    write_jobs(server.jobs, WHY_JOBS)
    try:
        with server.client() as client:
            client.reload()
            failed = client.schedule("why/root").wait()
            waiting = client.schedule("why/after")
            wait_for("it is looked at", lambda: "waiting for why/root()" in str(waiting.why()))
            lines = shell.good("why", waiting.run_id).splitlines()
            assert lines[0] == f"{waiting.run_id} why/after(): waiting for why/root() to end in success"
            assert lines[1].startswith(f"  {failed.run_id} why/root() ended in failure at ")
            assert lines[1].endswith(": exit code 3")
            assert lines[2:] == ["    it wrote last: the end is near"]
            assert shell.good("why", "why/after").splitlines() == lines
            assert [row["kind"] for row in listed(shell, "why", "why/after")] == ["waiting", "failed"]
            assert client.jobs["why/after"].why().root["run_id"] == failed.run_id
            assert "&emsp;" in waiting.why()._repr_html_()
            waiting.skip()

        told = shell.good("why", "why/later", "--date", "2099-01-01")
        due = "is not due yet: its time is 2099-01-01 09:00:00 GMT, in "
        assert told.startswith(f"why/later(date=2099-01-01, kind=full) {due}")
        assert shell.good("why", "why lat", "date=2099-01-01").startswith("why/later(date=2099-01-01, ")
        told = shell.good("why", "why/later", "kind=long", "date=2099-01-01")
        assert told == "arg kind of job why/later: 'long' is none of short, full\n"
        assert shell.good("why", "why/lated") == "there is no job 'why/lated': did you mean 'why/later'?\n"
        assert shell("why", "r999999").returncode == 1
        assert shell("why", "r1", "a=b").returncode == 2
    finally:
        for job_id in WHY_JOBS:
            (server.jobs / f"{job_id}.yaml").unlink()
        shell("reload")


def test_the_doctor_says_what_is_wrong_and_what_to_do(shell: Shell, server: Served):
    file = server.jobs / "wrong.yaml"
    file.write_text("progam: x\n")
    try:
        with server.client() as client:
            client.reload()
            ended = shell("doctor", "--fix")
            assert ended.returncode == 1
            lines = ended.stdout.splitlines()
            first = next(n for n, line in enumerate(lines) if line.startswith("error: broken: wrong: "))
            assert "wrong.yaml:1:1: unknown key 'progam'" in lines[first]
            assert lines[first + 1] == "    mend the file, then `apsis-nb reload`"
            assert {"kind": "broken", "subject": "wrong"}.items() <= listed_badly(shell, "doctor")[0].items()
            frame = client.doctor()
            assert list(frame.columns) == ["kind", "level", "subject", "message", "fix"]
            assert ("broken", "wrong") in zip(frame["kind"], frame["subject"], strict=True)
            assert client.list_findings(fix=True)["mended"] == []
    finally:
        file.unlink()
        shell("reload")
    assert "error: broken: wrong: " not in shell("doctor").stdout


def test_a_test_message_that_cannot_be_sent_says_why(shell: Shell):
    ended = shell("notify-test", "ops")
    assert ended.returncode == 1
    assert ended.stderr == "apsis-nb: there is no 'ops' under 'notify' in the server's configuration\n"


def test_an_edit_is_previewed_taken_up_listed_and_reverted(shell: Shell, server: Served):
    file = server.jobs / "edited.yaml"
    first = "program: ['true']\nschedule: {type: interval, interval: 1d}\n"
    file.write_text(first)
    try:
        told = shell.good("next", str(file), "--diff")
        assert told.startswith("edited (a new job): in the next 7 days 7 added, 0 removed\n")
        shell.good("reload")
        file.write_text(first.replace("1d", "12h"))
        rows = listed(shell, "next", str(file), "--diff")
        assert [row["what"] for row in rows] == ["added"] * 7
        assert "7 added, 0 removed" in shell.good("reload", "--dry-run")
        shell.good("reload")
        assert [
            (v["version"], v["added"], v["removed"]) for v in listed(shell, "job", "edited", "--history")
        ] == [
            (1, 2, 0),
            (2, 1, 1),
        ]
        assert shell.good("revert", "edited", "1") == "edited is as it was in version 1\n"
        assert file.read_text() == first
        assert [v["version"] for v in listed(shell, "job", "edited", "--history")] == [1, 2, 3]
        file.unlink()
        shell.good("reload")
        shell.good("revert", "edited", "2")
        assert "12h" in file.read_text()
        ended = shell("revert", "edited", "4")
        assert (ended.returncode, "there the file was removed; there are 1, 2, 3, 5" in ended.stderr) == (
            1,
            True,
        )
    finally:
        file.unlink(missing_ok=True)
        shell("reload")


def test_an_edit_says_what_already_ran_today_and_will_run_again(shell: Shell, server: Served):
    file = server.jobs / "moved.yaml"
    text = "params: [kind]\nprogram: 'true'\nschedule: {type: explicit, times: ['%s'], args: {kind: full}}\n"
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    later = due + timedelta(hours=1)
    file.write_text(text % format_time(due))
    try:
        with server.client() as client:
            client.reload()
            (run,) = wait_for("it runs", lambda: client.list_runs(job="moved", state="success"))
            file.write_text(text % format_time(later))
            (ran,) = client.preview("moved", file.read_text())["ran"]
        assert (ran["run_id"], ran["again_at"]) == (run["run_id"], format_time(later))

        told = shell.good("next", str(file), "--diff").splitlines()
        assert told[0] == "moved: in the next 7 days 1 added, 0 removed"
        was, will = (format_local(at, zone("Europe/London")) for at in (due, later))
        again = will[11:] if was[:10] == will[:10] else will
        said = f"{was[11:]} ran today as {run['run_id']} (success); {again} will run again with kind=full"
        assert told[1] == said
        assert said in shell.good("reload", "--dry-run").splitlines()
    finally:
        file.unlink()
        shell("reload")


def test_an_edit_says_what_it_loses(shell: Shell, server: Served):
    file = server.jobs / "lost.yaml"
    text = "params: [time]\nprogram: 'true'\n"
    file.write_text(text + "schedule: {type: interval, interval: 1d}\n")
    try:
        shell.good("reload")
        file.write_text(text)
        told = shell.good("next", str(file), "--diff").splitlines()
        assert told[0] == "lost: in the next 7 days 0 added, 7 removed"
        assert " is removed, and no other run has time=" in told[1]
        assert told[1].endswith("; so for 6 more")
    finally:
        file.unlink()
        shell("reload")


def test_an_edit_of_a_job_that_runs_very_often_says_how_far_it_looked(shell: Shell, server: Served):
    file = server.jobs / "often.yaml"
    text = "program: {type: no-op}\nschedule: {type: interval, interval: 1s}\n"
    file.write_text(text)
    try:
        told = shell.good("next", str(file), "--diff").splitlines()[0]
        assert re.fullmatch(
            r"often \(a new job\): until [-0-9]{10} [:0-9]{8} 2,000 added, 0 removed; "
            "the first 1,000 added are shown",
            told,
        )
    finally:
        file.unlink()


def test_token_is_that_of_the_server(shell: Shell, server: Served):
    assert shell.good("token") == f"{server.token}\n"


def test_a_second_server_of_the_same_history_is_refused(shell: Shell, server: Served):
    ended = shell("serve", str(server.jobs), "--state-dir", str(server.state), "--bind", "127.0.0.1:0")
    assert ended.returncode == 1
    assert f"runs already: {server.url}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_server_may_be_named(alone: Shell, server: Served):
    assert alone("jobs", "--url", server.url, APSIS_NB_TOKEN=server.token).returncode == 0
    assert alone("jobs", APSIS_NB_URL=server.url, APSIS_NB_TOKEN=server.token).returncode == 0
    refused = alone("jobs", "--url", server.url, APSIS_NB_TOKEN="wrong")
    assert refused.returncode == 1
    assert "APSIS_NB_TOKEN" in refused.stderr


def test_a_reader_that_leaves_early_is_no_error(shell: Shell):
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {COMMAND} sql 'FROM range(100000)' --format csv | head -n 1"],
        env=dict(shell.env), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.stdout == "range\n"
    assert ended.stderr == ""


# -- holding back and catching up


def test_pause_and_resume_tell_what_they_do(shell: Shell):
    assert shell.good("pause", "daily/report", "--reason", "lunch").startswith("daily/report paused")
    assert "lunch" in shell.good("pause")
    assert shell.good("resume", "report", "--dry-run").startswith(
        "daily/report would go on; no times were skipped"
    )
    (plan,) = listed(shell, "resume", "daily/report")
    assert plan["pause"]["target"] == "daily/report"
    assert shell("pause").stderr == "nothing is paused\n"
    assert "paused until 2" in shell.good("pause", "--path", "daily", "--until", "+1h")
    assert shell.good("resume", "--path", "daily").startswith("all below daily goes on")
    assert shell("resume", "--all").returncode == 1


def test_backfill_lists_runs_and_tells_how_far_it_is(shell: Shell):
    days = ["daily/report", "--from", "2026-03-01", "--to", "2026-03-03"]
    assert shell.good("backfill", *days, "--dry-run").startswith("3 runs of daily/report\n")
    (made,) = listed(shell, "backfill", *days, "--wait")
    assert (made["success"], made["left"]) == (3, 0)
    assert shell("backfill", *days, "--only-missing").stderr.startswith(
        "apsis-nb: nothing to run: 3 have succeeded"
    )
    assert made["backfill_id"] in [row["backfill_id"] for row in listed(shell, "backfills")]
    assert shell("backfills", made["backfill_id"], "--stop").returncode == 1
    assert shell("backfills", "--stop").returncode == 2


def test_mark_changes_how_a_run_ended(shell: Shell):
    (run,) = json.loads(shell("schedule", "fails", "--wait", "--format", "json").stdout)
    assert shell.good("mark", "success", run["run_id"]) == f"{run['run_id']} success fails\n"
    assert "is success already" in shell("mark", "success", run["run_id"]).stderr


def test_rerun_takes_other_args_and_may_be_a_test(shell: Shell):
    run = scheduled(shell, "greet/hello", "name=x")
    made = shell.good("rerun", run["run_id"], "--arg", "name=y", "--test")
    assert made.endswith("greet/hello name=y\n")
    (again,) = listed(shell, "run", made.split()[0])
    assert (again["origin"], again["rerun_of"]) == ("test", run["run_id"])


def test_what_is_beyond_what_is_kept_is_told_before_it_goes(shell: Shell, server: Served):
    file = server.jobs / "kept.yaml"
    file.write_text("program: echo something\nretention: {outputs: {count: 1}}\n")
    try:
        shell("reload")
        runs = [scheduled(shell, "kept")["run_id"] for _ in range(3)]
        (row,) = listed(shell, "retention")
        assert (row["job_id"], row["runs"], row["outputs"]) == ("kept", 2, 2)
        ended = shell("retention")
        assert f"{row['bytes']} bytes of 2 runs would be freed; --apply does it now\n" == ended.stderr
        assert shell.good("output", runs[0]) == "something\n"
        with server.client() as client:
            assert [told["runs"] for told in client.retention(apply=True)] == [2]
            assert client.run(runs[0]).outputs_dropped["reason"] == "not among the newest 1 of its job"
            assert client.run(runs[2]).outputs_dropped is None
        assert shell("retention").stderr == "nothing is beyond what is kept\n"
        told = shell("output", runs[0])
        assert (told.returncode, told.stdout) == (1, "")
        assert f"the outputs of run {runs[0]} were dropped: not among the newest 1" in told.stderr
        assert "its outputs were dropped: not among the newest 1 of its job" in shell.good("log", runs[0])
        assert shell.good("output", runs[2]) == "something\n"
    finally:
        file.unlink()
        shell("reload")


def test_a_token_is_given_out_used_and_taken_back(shell: Shell, server: Served):
    made = shell("token", "new", "--role", "run", "--path", "greet", "--expires", "+30d", "--name", "bob")
    assert made.returncode == 0
    token = made.stdout.strip()
    assert "bob may run below greet until 20" in made.stderr
    assert "`apsis-nb token revoke bob` ends it" in made.stderr
    (told,) = json.loads(shell.good("token", "list", "--format", "json"))
    assert (told["name"], told["role"], told["paths"]) == ("bob", "run", ["greet"])
    assert token not in str(told)
    assert "greet" in shell.good("token", "list")

    as_bob = {"APSIS_NB_TOKEN": token, "APSIS_NB_URL": server.url}
    jobs = json.loads(shell.good("jobs", "--format", "json", **as_bob))
    assert {job["job_id"] for job in jobs} == {"greet/hello", "greet/again"}
    (run,) = json.loads(shell.good("schedule", "greet/hello", "--format", "json", **as_bob))
    assert run["by"] == "bob"
    refused = shell("reload", **as_bob)
    assert refused.returncode == 1
    assert refused.stderr == (
        "apsis-nb: this takes the role write, and bob has run: "
        "`apsis-nb token new --role write` makes such a token\n"
    )
    (other,) = json.loads(shell.good("schedule", "fails", "--format", "json"))
    assert "held to greet/" in shell("run", other["run_id"], **as_bob).stderr

    assert shell("token", "revoke", "bob").stderr == "bob is revoked\n"
    assert "does not accept the token" in shell("jobs", **as_bob).stderr
    assert "there is no token 'bob'" in shell("token", "revoke", "bob").stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--role", "admin", "--path", "greet"], "path: an admin is held to no path; give the role write"),
        (["--role", "read", "--expires", "2020-01-01"], "expires: that is past"),
        (["--role", "read", "--name", "a b"], "name: 'a b' is no name"),
        (["--role", "read", "--name", "dashboards"], "name: 'dashboards' is taken"),
        (["--role", "read", "--path", "/"], "path: must name a folder"),
        (["--role", "king"], "'king' is not one of"),
    ],
)
def test_a_token_that_cannot_be_is_refused(shell: Shell, words: list[str], says: str):
    refused = shell("token", "new", *words)
    assert refused.returncode in (1, 2)
    assert refused.stdout == ""
    assert says in refused.stderr
