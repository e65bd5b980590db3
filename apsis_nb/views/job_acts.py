"""What can be done with jobs, one or many: what is asked before, and the doing, which tells what failed."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from apsis_nb.client import Client
from apsis_nb.core.errors import ApsisError

from . import markup
from .catalogue import Known, is_disabled
from .markup import text

MOST_NAMED = 12  #: jobs that a question names; of the others it tells how many

FIELDS_OF_A_PAUSE = (
    '<label class="field">Until<input name="until" placeholder="+8h, 09:00 or 2026-12-31">'
    "<small>Empty: until somebody resumes.</small></label>"
    '<label class="field">Reason<input name="reason" placeholder="for others who wonder"></label>'
)


def named(job_ids: Iterable[str]) -> str:
    """Some jobs as a list."""
    ids = sorted(job_ids)
    items = "".join(f"<li>{text(job_id)}</li>" for job_id in ids[:MOST_NAMED])
    more = f"<li>and {len(ids) - MOST_NAMED:,} more</li>" if len(ids) > MOST_NAMED else ""
    return f'<ul class="named">{items}{more}</ul>'


def many(count: int, noun: str = "job") -> str:
    """`1 job`, `2 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def pause_question(job_ids: list[str]) -> str:
    """What a pause of these jobs means, and the fields of it."""
    is_one = len(job_ids) == 1  # the question names it
    whose, resumed = ("its schedule makes", "it is") if is_one else ("their schedules make", "they are")
    what = (
        f"<p>What {whose} is <b>skipped</b> until {resumed} resumed. Runs that are under way go "
        "on, and runs may still be started by hand.</p>"
    )
    return what + ("" if is_one else named(job_ids)) + FIELDS_OF_A_PAUSE


def pause(client: Client, job_ids: list[str], form: Mapping[str, Any]) -> str:
    """Pause them; tells in words what was done.

    Raises:
        ApsisError: it could not be done for some, and why.
    """
    until, reason = str(form.get("until") or "") or None, str(form.get("reason") or "") or None
    return _each(
        job_ids, lambda job_id: client.pause(job_id, until=until, reason=reason), "paused", "be paused"
    )


def pauses_over(known: Known, job_ids: list[str]) -> list[dict[str, Any]]:
    """The pauses that hold these jobs back, each once; that of a folder or of all holds others too."""
    found = {
        (pause["scope"], pause["target"]): pause for i in job_ids if (pause := known.pause_of(i)) is not None
    }
    return list(found.values())


def resume_question(client: Client, pauses: list[dict[str, Any]]) -> str:
    """What the end of these pauses means: what was skipped, and what comes next."""
    parts = []
    for pause in pauses:
        plan = client.resume(**_of_pause(pause), dry_run=True)
        skipped, coming = plan["skipped"], plan["next"]
        since = f"held back since {markup.when(pause['since'])}"
        by = f" by {text(pause['by'])}" if pause["by"] else ""
        reason = f": {text(pause['reason'])}" if pause["reason"] else ""
        lines = [f"<p><b>{pause_name(pause)}</b> {since}{by}{reason}.</p>"]
        if skipped:
            lines.append(
                f"<p>{many(len(skipped), 'run')} {'was' if len(skipped) == 1 else 'were'} skipped, and will "
                "not run now. A backfill of the job runs them.</p>"
            )
        if coming:
            row = coming[0]
            lines.append(
                f"<p>Next comes <b>{text(row['job_id'])}</b> {markup.when(row['scheduled_at'], 'until')}, at "
                f"{markup.when(row['scheduled_at'])}.</p>"
            )
        else:
            lines.append("<p>Nothing comes due within a day.</p>")
        parts.append("".join(lines))
    return "".join(parts)


def resume(client: Client, pauses: list[dict[str, Any]]) -> str:
    """End these pauses; tells in words what was done.

    Raises:
        ApsisError: it could not be done for some, and why.
    """
    by_name = {pause_name(pause, is_html=False): pause for pause in pauses}
    return _each(
        list(by_name), lambda name: client.resume(**_of_pause(by_name[name])), "resumed", "be resumed"
    )


def pause_name(pause: Mapping[str, Any], *, is_html: bool = True) -> str:
    """What a pause is about."""
    name = {"all": "all jobs", "path": f"all below {pause['target']}/"}.get(pause["scope"], pause["target"])
    return text(name) if is_html else str(name)


def _of_pause(pause: Mapping[str, Any]) -> dict[str, Any]:
    match pause["scope"]:
        case "all":
            return {"everything": True}
        case "path":
            return {"path": pause["target"]}
        case _:
            return {"job": pause["target"]}


def enable_question(job_ids: list[str], *, enable: bool) -> str:
    """What it means that files are changed."""
    change = (
        "<p>In their files <code>enabled: false</code> is taken away from each schedule: they make runs "
        "again.</p>"
        if enable
        else "<p>In their files <code>enabled: false</code> is written to each schedule: they make no runs, "
        "and none is recorded as skipped, until it is taken away. All other lines stay as they are.</p>"
    )
    return change + named(job_ids)


def enable(client: Client, job_ids: list[str], *, enable: bool) -> str:
    """Write it into the files; tells in words what was done.

    Raises:
        ApsisError: it could not be done for some, and why.
    """

    def one(job_id: str) -> None:
        source, tag = client.yaml(job_id)
        changes = enabling(source, enable=enable)
        if changes:
            client.edit_yaml(job_id, changes, tag=tag)

    word = "enabled" if enable else "disabled"
    return _each(job_ids, one, word, f"be {word}")


def enabling(source: str, *, enable: bool) -> dict[str, Any]:
    """The changes to a job file, as `Client.edit_yaml` takes them, that enable or disable its schedules."""
    data = yaml.safe_load(source)
    schedules = data.get("schedule") if isinstance(data, dict) else None
    if isinstance(schedules, dict):
        entries = {"schedule.enabled": schedules}
    elif isinstance(schedules, list):
        entries = {f"schedule.{n}.enabled": s for n, s in enumerate(schedules) if isinstance(s, dict)}
    else:
        return {}
    return {
        key: None if enable else False
        for key, schedule in entries.items()
        if (schedule.get("enabled", True) is False) is enable
    }


def reload_question(told: Mapping[str, Any], lost: list[str]) -> str:
    """What a reload would change, from a dry run.

    Args:
        told: the answer of the server.
        lost: jobs that work now, and whose files are broken.
    """
    parts = []
    for name, words in (("added", "New"), ("changed", "Changed"), ("removed", "Gone")):
        if told[name]:
            items = "".join(
                f"<li>{text(i)}{_preview_words(told['previews'].get(i))}</li>"
                for i in told[name][:MOST_NAMED]
            )
            more = (
                f"<li>and {len(told[name]) - MOST_NAMED:,} more</li>" if len(told[name]) > MOST_NAMED else ""
            )
            parts.append(f'<p><b>{words}</b></p><ul class="named">{items}{more}</ul>')
    errors = [error for error in told["errors"] if error["level"] == "error"]
    if errors:
        items = "".join(f"<li>{fault_html(error)}</li>" for error in errors[:MOST_NAMED])
        parts.append(f'<p><b>Broken</b></p><ul class="named">{items}</ul>')
    if lost:
        whose = "its file is" if len(lost) == 1 else "their files is"
        parts.append(
            f"<p>{text(', '.join(lost))} would be lost: what is in {whose} broken. So nothing is taken up, "
            'but with this:</p><label class="check"><input type="checkbox" name="force">'
            "Take up the others all the same</label>"
        )
    return "".join(parts)


def is_changed(told: Mapping[str, Any]) -> bool:
    """Whether a reload would change anything."""
    return any(told[name] for name in ("added", "changed", "removed"))


def reloaded_words(told: Mapping[str, Any]) -> str:
    """What a reload has changed."""
    changes = [
        f"{len(told[name])} {word}"
        for name, word in (("added", "new"), ("changed", "changed"), ("removed", "gone"))
        if told[name]
    ]
    if not told["applied"]:
        return "Nothing was taken up: a file of a working job is broken."
    return f"The job files were read again: {', '.join(changes) or 'nothing has changed'}."


def _preview_words(preview: Mapping[str, Any] | None) -> str:
    """What becomes of the runs of the next 7 days."""
    if not preview:
        return ""
    told = [
        f"{preview[f'{name}_count']:,} {word}"
        for name, word in (("added", "more"), ("removed", "fewer"))
        if preview[f"{name}_count"]
    ]
    again = sum(1 for run in preview["ran"] if run["again_at"])
    told += [f"{many(again, 'run')} of today once more"] if again else []
    return f' <span class="muted">runs in the next 7 days: {", ".join(told)}</span>' if told else ""


def fault_html(error: Mapping[str, Any]) -> str:
    """A fault of a file with its place: `etl/load.yaml:3:1 message`."""
    place = ":".join(str(part) for part in (error["file"], error.get("line"), error.get("col")) if part)
    return f'<b class="mono">{text(place or error["job_id"])}</b> <span>{text(error["message"])}</span>'


def can_be_disabled(facts: Mapping[str, Any]) -> bool:
    """Whether a job has schedules that make runs."""
    return bool(facts["schedule"]) and not is_disabled(facts)


def _each(names: list[str], do: Callable[[str], Any], done: str, be_done: str) -> str:
    """Do it for each; if it fails for some, the others are done all the same."""
    failed = []
    for name in names:
        try:
            do(name)
        except ApsisError as error:
            failed.append(f"{name}: {error}")
    if failed:
        raise ApsisError(f"{len(failed)} of {len(names)} could not {be_done}. {'; '.join(failed[:5])}")
    what = names[0] if len(names) == 1 else many(len(names))
    return f"{what} {'is' if len(names) == 1 else 'are'} {done}."
