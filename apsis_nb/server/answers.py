"""The forms of all answers, for the description of the interface; what is told is put together elsewhere.

Nothing is checked against them as it is sent, for that would cost more than making it. Tests check each
answer that they get.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

StateName = Literal[
    "scheduled", "waiting", "starting", "running", "stopping", "success", "failure", "error", "skipped"
]
OriginName = Literal["schedule", "manual", "ad_hoc", "action", "retry", "rerun", "backfill", "test"]
Args = dict[str, str]


class Answer(BaseModel):
    """What is told has these members, and no others."""

    # Nothing needs what pydantic makes of a form before somebody asks for the description.
    model_config = ConfigDict(extra="forbid", defer_build=True)


# -- the server


class Self(Answer):
    """Which server this is."""

    version: str = Field(examples=["1.0.0"])
    boot_id: str = Field(
        description="of this start of the server", examples=["715c045add2e41b6b5697fd785421a13"]
    )
    started_at: datetime = Field(examples=["2026-11-27T22:55:03.613183Z"])


class Version(Self):
    """Which server this is, and in which time zone it reads times that have none."""

    name: str = Field(examples=["main"])
    tz: str = Field(examples=["Europe/Zurich"])
    user: str = Field(description="who asks", examples=["ann"])
    role: Literal["read", "run", "write", "admin"] = Field(description="what they may do", examples=["write"])


class Loop(Answer):
    """A loop of the server."""

    name: str = Field(examples=["clock"])
    running: bool = Field(examples=[True])
    failures: int = Field(description="how often it failed and was started again", examples=[0])
    last_error: str | None = Field(examples=[None])
    last_error_at: datetime | None = Field(examples=[None])


class DamagedRun(Answer):
    """A run that could not be read back when the server started."""

    run_id: int = Field(examples=[17])
    error: str = Field(examples=["run r17 cannot be rebuilt: 'state'"])


class StoreHealth(Answer):
    """How the store is."""

    ok: bool = Field(examples=[True])
    error: str | None = Field(description="what broke it", examples=[None])
    damaged: list[DamagedRun] = Field(examples=[[]])
    live_runs: int = Field(examples=[12])
    queued: int = Field(description="saves that wait for their commit", examples=[0])
    commits: int = Field(examples=[20451])
    last_commit_s: float = Field(examples=[0.006])
    wal_bytes: int = Field(examples=[1215])
    file_bytes: int = Field(examples=[536576])


class Alive(Self):
    """How the server is."""

    alive: bool = Field(description="false: it starts nothing any more", examples=[True])
    ok: bool = Field(description="the same", examples=[True])
    broken: str | None = Field(description="why it starts nothing any more", examples=[None])
    draining: bool = Field(
        description="it starts nothing more, and ends when all runs have", examples=[False]
    )
    observing: bool = Field(description="it starts no program", examples=[False])
    loops: list[Loop]
    loop_lag_ms: float = Field(description="how much too late the clock's last tick came", examples=[0.4])
    commit_lag_ms: float = Field(description="how long the last save took", examples=[6.7])
    disk_free_b: int = Field(examples=[68712239104])
    live_runs: int = Field(examples=[12])
    jobs: int = Field(examples=[40])
    broken_files: int = Field(examples=[0])
    notices: int = Field(description="messages on their way", examples=[0])
    store: StoreHealth


class Told(Answer):
    """Who was told."""

    told: str = Field(examples=["ops"])


class Finding(Answer):
    """Something that is not as it should be."""

    kind: str = Field(examples=["disk"])
    level: str = Field(examples=["warning"])
    subject: str = Field(
        description="the job, the run or the part of the server", examples=["the state folder"]
    )
    message: str = Field(examples=["has 900 MB free"])
    fix: str = Field(description="what to do", examples=["make room"])
    is_mendable: bool = Field(
        description="the server can do it by itself, and harm nothing", examples=[False]
    )


class Findings(Answer):
    """What is not as it should be, the worst first."""

    findings: list[Finding]
    mended: list[str] = Field(description="what was done about it", examples=[[]])


class GivenUp(Answer):
    """How much of the outputs of a job is given up."""

    job_id: str = Field(examples=["sales/report"])
    runs: int = Field(examples=[310])
    outputs: int = Field(examples=[620])
    bytes: int = Field(description="on the disk", examples=[48_000_000])
    last_at: datetime = Field(
        description="when the newest of these runs finished", examples=["2026-05-01T09:00:07Z"]
    )


class Retention(Answer):
    """The outputs that are beyond what is kept, by job."""

    jobs: list[GivenUp]


class Backup(Answer):
    """A backup."""

    path: str = Field(examples=["/srv/backups/main-20261127T225503Z"])
    at: datetime = Field(examples=["2026-11-27T22:55:03Z"])
    runs: int = Field(examples=[1_204_411])
    log_rows: int = Field(examples=[5_002_934])
    bytes: int = Field(examples=[310_000_000])
    missing: list[str] = Field(
        description="what the store should have and had not, or not whole: files of outputs, months of the "
        "archive",
        examples=[[]],
    )


class Backups(Answer):
    """The backups in the server's own folder, the newest first."""

    backups: list[Backup]
    under_way: str | None = Field(
        description="how far the one under way is, in words", examples=["checking it"]
    )


class OldMonth(Answer):
    """A month of the database that is old enough for the archive."""

    month: str = Field(examples=["2026-01"])
    runs: int = Field(examples=[90_312])
    bytes: int = Field(description="about what it takes in the database", examples=[5_100_000])
    why_not: str | None = Field(
        description="why it stays nevertheless", examples=["a run of it has not finished"]
    )


class MovedMonth(Answer):
    """Runs of a month that are, or were, in a folder of the archive."""

    month: str = Field(examples=["2026-01"])
    folder: str = Field(examples=["2026-01.2"])
    archived_at: datetime = Field(examples=["2026-11-27T22:55:03Z"])
    runs: int = Field(examples=[90_312])
    first_run_id: str = Field(examples=["r1"])
    last_run_id: str = Field(examples=["r90312"])
    bytes: int = Field(description="of its files", examples=[1_900_000])


class ArchivedMonth(MovedMonth):
    """Runs of a month in a folder of the archive."""

    is_there: bool = Field(description="false: its folder is gone", examples=[True])


class Archive(Answer):
    """The months in the archive, the oldest first."""

    months: list[ArchivedMonth]
    under_way: str | None = Field(
        description="how far the move under way is, in words", examples=["month 1 of 3: 2026-01, 90312 runs"]
    )


class ToArchive(Answer):
    """The months that were moved; in a dry run those that would be, or that must stay."""

    months: list[MovedMonth | OldMonth]


class FromArchive(Answer):
    """The folders of the archive whose runs are in the database again."""

    months: list[MovedMonth]


class RunsByState(Answer):
    """How many runs there are in each state."""

    live: dict[str, int] = Field(examples=[{"running": 3}])
    finished_1h: dict[str, int] = Field(examples=[{"success": 59, "failure": 1}])
    finished_1d: dict[str, int] = Field(examples=[{"success": 1420, "failure": 12}])


class ProcessFigures(Answer):
    """What the process of the server uses; null where the system does not tell."""

    memory_b: int | None = Field(examples=[160_000_000])
    max_memory_b: int = Field(examples=[190_000_000])
    cpu_s: float = Field(examples=[41.2])
    threads: int | None = Field(examples=[21])
    open_files: int | None = Field(examples=[48])


class StoreFigures(StoreHealth):
    """How the store is, and what the outputs beside it take."""

    outputs_bytes: int = Field(examples=[72_000_000])
    cached_bytes: int = Field(
        description="memory that the database has: mostly what it has read of the file", examples=[41_000_000]
    )


class Stats(Answer):
    """The server in figures."""

    at: datetime = Field(examples=["2026-11-27T22:55:03Z"])
    started_at: datetime = Field(examples=["2026-11-26T08:00:00Z"])
    up_s: float = Field(examples=[140_103.5])
    runs: RunsByState
    jobs: int = Field(examples=[40])
    broken_files: int = Field(examples=[0])
    loop_lag_ms: float = Field(examples=[0.4])
    commit_lag_ms: float = Field(examples=[6.7])
    disk_free_b: int = Field(examples=[68_712_239_104])
    notices: int = Field(description="messages on their way", examples=[0])
    process: ProcessFigures
    store: StoreFigures


class GivenToken(Answer):
    """A token that was given out."""

    name: str = Field(examples=["ann"])
    role: Literal["read", "run", "write", "admin"] = Field(examples=["run"])
    paths: list[str] = Field(description="held to jobs below these; empty: to none", examples=[["team"]])
    made_at: datetime = Field(examples=["2026-11-27T22:55:03Z"])
    by: str = Field(description="who gave it out", examples=["ann"])
    expires_at: datetime | None = Field(examples=[None])


class NewToken(GivenToken):
    """A token that has just been given out."""

    token: str = Field(description="what its holder shows; it is told this once", examples=["Zr8h...x2"])


class Tokens(Answer):
    """The tokens that were given out."""

    tokens: list[GivenToken]


class RevokedToken(Answer):
    """A token that opens nothing any more."""

    token: GivenToken


# -- jobs


class Explained(Answer):
    """What parts of a job mean, in English."""

    schedule: list[str] = Field(examples=[["every day at 09:00:00 UTC"]])
    condition: list[str] = Field(examples=[[]])
    action: list[str] = Field(examples=[[]])


class Job(Answer):
    """A job, in the form of a job file."""

    job_id: str = Field(examples=["sales/report"])
    params: dict[str, dict[str, Any]] = Field(examples=[{"date": {"type": "date"}}])
    program: dict[str, Any] = Field(examples=[{"type": "argv", "argv": ["report", "{{ date }}"]}])
    schedule: list[dict[str, Any]] = Field(
        examples=[[{"type": "daily", "tz": "UTC", "daytime": ["09:00:00"], "calendar": "all days"}]]
    )
    condition: list[dict[str, Any]] = Field(examples=[[]])
    action: list[dict[str, Any]] = Field(examples=[[]])
    metadata: dict[str, Any] = Field(
        examples=[{"labels": ["daily"], "description": "Monthly figures"}],
        description="`labels`, `description`, and whatever else the file says",
    )
    late: dict[str, Any] = Field(
        examples=[{"start": 60.0}], description="budgets: start and finish in seconds"
    )
    ad_hoc: bool = Field(description="came with a request, and is in no file", examples=[False])
    explain: Explained
    waiting: dict[str, Any] | None = Field(None, examples=[{"max_time": 3600.0}])
    retry: dict[str, Any] | None = Field(None, examples=[{"count": 3, "delay": 60.0}])
    retention: dict[str, Any] | None = Field(None, examples=[{"outputs": {"max_age": 2592000.0}}])


class FileFault(Answer):
    """What is wrong with a job file, and where."""

    job_id: str | None = Field(examples=["sales/report"])
    file: str = Field(examples=["/srv/jobs/sales/report.yaml"])
    line: int | None = Field(examples=[3])
    col: int | None = Field(examples=[1])
    level: Literal["error", "warning"] = Field(examples=["error"])
    message: str = Field(examples=["unknown key 'progam': did you mean 'program'?"])


class Jobs(Answer):
    """The jobs, by id, and what is wrong with files of others."""

    jobs: list[Job]
    errors: list[FileFault]


class JobIds(Answer):
    """The ids of the jobs."""

    job_ids: list[str] = Field(examples=[["sales/import", "sales/report"]])


class JobTemplate(Answer):
    """A template of a job file."""

    name: str = Field(examples=["shell-daily"])
    description: str = Field(examples=["A command on each working day, for that day."])
    is_own: bool = Field(description="it is one of the job folder", examples=[False])
    yaml: str = Field(
        description="filled in for the job that was asked for", examples=["program: echo hello\n"]
    )


class JobTemplates(Answer):
    """The templates of job files that make a single file."""

    templates: list[JobTemplate]


class Comes(Answer):
    """A run that an edit adds."""

    at: datetime = Field(examples=["2026-11-28T09:00:00Z"])
    args: Args = Field(examples=[{"date": "2026-11-28"}])


class FilesChecked(Answer):
    """What is wrong with job files."""

    ok: bool = Field(description="there is no error; warnings there may be", examples=[False])
    errors: list[FileFault]
    job: Job | None = Field(None, description="the job of a text that was sent, as far as it can be read")
    next: list[Comes] = Field([], description="the first ten runs that its schedules would make")


class Goes(Comes):
    """A run that an edit takes away."""

    lost: bool = Field(description="its args neither ran today nor will run", examples=[True])


class RanToday(Answer):
    """A run that a schedule made today."""

    run_id: str = Field(examples=["r1042"])
    state: StateName = Field(examples=["success"])
    at: datetime = Field(examples=["2026-11-27T09:00:00Z"])
    args: Args = Field(examples=[{"date": "2026-11-27"}])
    again_at: datetime | None = Field(
        description="when the edit runs the same once more", examples=["2026-11-27T23:00:00Z"]
    )


class Preview(Answer):
    """What an edit does to the runs of the next 7 days, and what ran today."""

    added: list[Comes]
    removed: list[Goes]
    added_count: int = Field(description="how many there are; the first 1000 are told", examples=[7])
    removed_count: int = Field(examples=[7])
    until: datetime = Field(description="where the comparison ends", examples=["2026-12-04T22:55:03Z"])
    ran: list[RanToday]


class Reloaded(Answer):
    """What has changed in the job folder."""

    added: list[str] = Field(description="job ids", examples=[["sales/new"]])
    removed: list[str] = Field(examples=[[]])
    changed: list[str] = Field(examples=[["sales/report"]])
    errors: list[FileFault]
    applied: bool = Field(examples=[True])
    previews: dict[str, Preview] = Field(description="of a dry run, by job id", examples=[{}])


class Written(Answer):
    """A job file was written; the header ETag has the tag of its text."""

    job_id: str = Field(examples=["sales/report"])


class Edited(Written):
    """A job file was edited; the header ETag has the tag of its text."""

    yaml: str = Field(description="the new text", examples=["program: echo hello\n"])


class FileVersion(Answer):
    """A text that a job's file has had."""

    version: int = Field(examples=[2])
    ts: datetime = Field(examples=["2026-11-20T10:12:00Z"])
    by: str | None = Field(examples=["ann"])
    yaml: str | None = Field(description="null where it was removed", examples=["program: echo hello\n"])


class FileVersions(Answer):
    """The texts that a job's file has had, oldest first."""

    versions: list[FileVersion]


class Expected(Answer):
    """A run that a schedule will make."""

    job_id: str = Field(examples=["sales/report"])
    args: Args = Field(examples=[{"date": "2026-11-28"}])
    nominal_at: datetime = Field(examples=["2026-11-28T09:00:00Z"])
    scheduled_at: datetime = Field(examples=["2026-11-28T09:00:00Z"])


class NextTimes(Answer):
    """The next runs of a job, by time."""

    next: list[Expected]


class ExpectedRuns(Answer):
    """What the schedules will make, by time."""

    expected: list[Expected]


class ExpectedCount(Answer):
    """How many runs the schedules of a job will make in a piece of time."""

    job_id: str = Field(examples=["sales/report"])
    period: datetime = Field(description="start of the piece", examples=["2026-11-28T09:00:00Z"])
    runs: int = Field(examples=[15])
    first_at: datetime = Field(description="the first of them", examples=["2026-11-28T09:01:00Z"])


class ExpectedCounts(Answer):
    """How many runs the schedules will make, by job, then time."""

    counts: list[ExpectedCount]


class Pause(Answer):
    """Schedules that are held back."""

    scope: Literal["job", "path", "all"] = Field(examples=["job"])
    target: str = Field(
        description="the job or the folder; empty where all are paused", examples=["sales/report"]
    )
    since: datetime = Field(examples=["2026-11-27T20:00:00Z"])
    until: datetime | None = Field(description="when it ends by itself", examples=["2026-11-28T06:00:00Z"])
    reason: str | None = Field(examples=["the database moves"])
    by: str | None = Field(examples=["ann"])


class Pauses(Answer):
    """What is paused."""

    pauses: list[Pause]


class Paused(Answer):
    """The pause that was made."""

    pause: Pause


class HeldBack(Answer):
    """A run that a pause held back."""

    run_id: str = Field(examples=["r1043"])
    job_id: str = Field(examples=["sales/report"])
    args: Args = Field(examples=[{"date": "2026-11-27"}])
    nominal_at: datetime | None = Field(examples=["2026-11-27T21:00:00Z"])


class Resumed(Answer):
    """What the end of a pause means."""

    skipped: list[HeldBack] = Field(description="what it held back, the newest first")
    next: list[Expected] = Field(description="what comes due next, of a day")
    pause: Pause


# -- runs


class RunInList(Answer):
    """A run: all facts but its program."""

    run_id: str = Field(examples=["r1042"])
    job_id: str = Field(examples=["sales/report"])
    args: Args = Field(examples=[{"date": "2026-11-27"}])
    origin: OriginName = Field(description="what made it", examples=["schedule"])
    attempt: int = Field(examples=[1])
    rerun_of: str | None = Field(examples=[None])
    backfill_id: int | None = Field(examples=[None])
    state: StateName = Field(examples=["success"])
    skip_reason: str | None = Field(examples=[None])
    labels: list[str] = Field(examples=[["daily"]])
    nominal_at: datetime | None = Field(
        description="the time that its schedule names", examples=["2026-11-27T09:00:00Z"]
    )
    scheduled_at: datetime = Field(description="when it is due", examples=["2026-11-27T09:00:00Z"])
    started_at: datetime | None = Field(examples=["2026-11-27T09:00:00.004Z"])
    finished_at: datetime | None = Field(examples=["2026-11-27T09:00:07.120Z"])
    stop_at: datetime | None = Field(description="when it is stopped if it still runs", examples=[None])
    late: bool = Field(description="it started or ended beyond its budget", examples=[False])
    late_s: float | None = Field(description="null unless a schedule made it", examples=[0.004])
    late_why: str | None = Field(examples=[None])
    elapsed_s: float | None = Field(description="of one that runs: until now", examples=[7.116])
    return_code: int | None = Field(examples=[0])
    message: str | None = Field(examples=[None])
    host: str | None = Field(examples=[None])
    by: str | None = Field(description="who asked for it", examples=[None])


class ImportedFrom(Answer):
    """Where a run came from."""

    source: str = Field(description="the file that it was in", examples=["runs.duckdb"])
    run_id: str = Field(description="what it was called there", examples=["r77"])
    at: datetime = Field(description="when it was imported from there", examples=["2026-11-27T22:55:03Z"])


class Run(RunInList):
    """A run. Times are ISO 8601 in UTC, durations in seconds."""

    program: dict[str, Any] | None = Field(
        description="with the args put in", examples=[{"type": "argv", "argv": ["report", "2026-11-27"]}]
    )
    meta: dict[str, Any] | None = Field(
        description="what it used (`cpu_s`, `max_rss_b`, ...), once it has finished, and what its program "
        "tells of itself (`meta`), also while it runs; null in lists",
        examples=[{"cpu_s": 6.2, "max_rss_b": 120_000_000}],
    )
    imported_from: list[ImportedFrom] = Field(
        description="where it was before it came here, the last place first; empty: it was made here",
        examples=[[]],
    )


class Runs(Answer):
    """The runs that were made or moved."""

    runs: list[Run]


class RunPlan(Answer):
    """What a request would run."""

    job_id: str = Field(examples=["sales/report"])
    args: Args = Field(description="defaults included", examples=[{"date": "2026-11-27"}])
    scheduled_at: datetime = Field(description="when it is due", examples=["2026-11-27T09:00:00Z"])
    stop_at: datetime | None = Field(description="when it is stopped if it still runs", examples=[None])
    labels: list[str] = Field(examples=[["daily"]])
    host: str = Field(examples=["local"])
    program: dict[str, Any] = Field(
        description="with the args put in", examples=[{"type": "argv", "argv": ["report", "2026-11-27"]}]
    )
    condition: list[str] = Field(
        description="what it will wait for", examples=[["sales/import(date=2026-11-27) to end in success"]]
    )
    action: list[str] = Field(description="what will follow", examples=[[]])


class RunsPage(Answer):
    """A page of the listing, those that are due last first."""

    runs: list[RunInList]
    next: str | None = Field(
        description="the `cursor` of the next page; null after the last",
        examples=["MjAyNi0xMS0yN1QwOTowMDowMFogMTA0Mg=="],
    )


class LogLine(Answer):
    """Something that happened to a run."""

    ts: datetime = Field(examples=["2026-11-27T09:00:07.120Z"])
    state: StateName = Field(examples=["success"])
    message: str | None = Field(examples=["ended with code 0"])


class RunLog(Answer):
    """What happened to a run, oldest first."""

    log: list[LogLine]


class Output(Answer):
    """Something that a run wrote."""

    name: str = Field(examples=["output"])
    length: int = Field(description="bytes", examples=[1024])
    content_type: str = Field(examples=["text/plain"])


class Dropped(Answer):
    """The outputs of a run were given up."""

    at: datetime = Field(examples=["2027-05-27T03:00:00Z"])
    reason: str = Field(examples=["older than 180 days"])


class Outputs(Answer):
    """What a run wrote."""

    outputs: list[Output]
    dropped: Dropped | None = Field(description="where its outputs are not kept any more", examples=[None])


class Cause(Answer):
    """A cause of why something has not run, or not well."""

    kind: str = Field(examples=["failure"])
    text: str = Field(examples=["r1041 sales/import ended with code 3"])
    depth: int = Field(description="0: of what was asked; 1: of what that waits for; ...", examples=[1])
    job_id: str = Field(examples=["sales/import"])
    args: Args = Field(examples=[{}])
    run_id: str | None = Field(examples=["r1041"])
    output: str | None = Field(description="the last line that the run wrote", examples=["no such table"])


class Causes(Answer):
    """The causes, the nearest first, down to the root."""

    causes: list[Cause]


class JobCauses(Causes):
    """The causes, the nearest first, down to the root."""

    job_id: str = Field(examples=["sales/report"])


# -- backfills


class BackfillRun(Answer):
    """A run of a backfill."""

    args: Args = Field(examples=[{"date": "2026-11-01"}])
    nominal_at: datetime | None = Field(examples=["2026-11-01T09:00:00Z"])


class BackfillPlan(Answer):
    """What a backfill runs."""

    instances: list[BackfillRun] = Field(description="the oldest first")
    done: int = Field(description="how many are left out: they have succeeded or are under way", examples=[0])
    job_id: str = Field(examples=["sales/report"])
    backfill_id: str | None = Field(description="null of a dry run", examples=["r12"])


class Backfill(Answer):
    """A backfill, and how far it is."""

    backfill_id: str = Field(examples=["r12"])
    job_id: str = Field(examples=["sales/report"])
    by: str | None = Field(examples=["ann"])
    asked_at: datetime = Field(examples=["2026-11-27T12:00:00Z"])
    first_at: datetime | None = Field(description="the first nominal time", examples=["2026-11-01T09:00:00Z"])
    last_at: datetime | None = Field(examples=["2026-11-26T09:00:00Z"])
    instances: int = Field(description="how many runs were wanted", examples=[26])
    runs: int = Field(description="how many were made, tries included", examples=[26])
    left: int = Field(examples=[20])
    running: int = Field(examples=[1])
    success: int = Field(examples=[5])
    failed: int = Field(examples=[0])
    skipped: int = Field(examples=[0])
    finished_at: datetime | None = Field(examples=[None])


class Backfills(Answer):
    """The backfills, newest first."""

    backfills: list[Backfill]


# -- history


class Column(Answer):
    """A column of a table."""

    name: str = Field(examples=["job_id"])
    type: str = Field(description="in Arrow's words", examples=["string"])


class Table(Answer):
    """A table. The other form of the same is an Arrow stream, which keeps all types."""

    columns: list[Column]
    rows: list[dict[str, Any]] = Field(examples=[[{"job_id": "sales/report", "runs": 26}]])
