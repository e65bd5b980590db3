"""What the laws are tried on, as nouns."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from apsis_nb.core.actions import (
    LATE,
    METHODS,
    MISSED,
    RECOVERED,
    Action,
    NotifyAction,
    ScheduleAction,
    ShellAction,
    WebhookAction,
    When,
)
from apsis_nb.core.calendars import WEEKDAYS, Calendar, dates_from_text, get_calendar
from apsis_nb.core.params import Param
from apsis_nb.core.private import read_address, read_header, read_web_address
from apsis_nb.core.programs import (
    Custom,
    Ecs,
    Internal,
    InternalType,
    KeptFile,
    NoOp,
    Notebook,
    Output,
    Process,
    Program,
    PythonCall,
    Resources,
    SqlQuery,
    Stop,
    Timeout,
)
from apsis_nb.core.schedules import (
    Bound,
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    Dst,
    ExplicitSchedule,
    IntervalSchedule,
    MisfireRule,
    Schedule,
    StopDaytime,
    StopDuration,
)
from apsis_nb.core.states import State
from apsis_nb.core.times import zone

#: Clocks that change by an hour in the north and the south, by half an hour, and never.
ZONES = ("America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Tokyo")

#: Nights around which the clocks of these zones change, 2023 to 2025.
CHANGES = (
    datetime(2023, 3, 12, 7, tzinfo=UTC),
    datetime(2023, 3, 26, 1, tzinfo=UTC),
    datetime(2023, 4, 1, 15, tzinfo=UTC),
    datetime(2023, 9, 30, 15, 30, tzinfo=UTC),
    datetime(2023, 10, 29, 1, tzinfo=UTC),
    datetime(2023, 11, 5, 6, tzinfo=UTC),
    datetime(2024, 3, 10, 7, tzinfo=UTC),
    datetime(2025, 11, 2, 6, tzinfo=UTC),
)


def zones() -> st.SearchStrategy[ZoneInfo]:
    return st.sampled_from(ZONES).map(zone)


def daytimes() -> st.SearchStrategy[time]:
    """Mostly in the hours where clocks change."""
    near = st.builds(time, st.integers(0, 3), st.sampled_from([0, 1, 15, 30, 45, 59]))
    return near | st.times().map(lambda t: t.replace(fold=0))


def instants() -> st.SearchStrategy[datetime]:
    """Aware, UTC; mostly near a change of the clocks."""
    near = st.builds(
        lambda change, minutes: change + timedelta(minutes=minutes),
        st.sampled_from(CHANGES),
        st.integers(-180, 180),
    )
    free = st.timedeltas(timedelta(0), timedelta(days=1800)).map(
        lambda t: datetime(2022, 1, 1, tzinfo=UTC) + t
    )
    return near | free


def spans(most: timedelta = timedelta(days=4)) -> st.SearchStrategy[tuple[datetime, datetime]]:
    """(start, stop), stop perhaps before start."""
    return st.tuples(instants(), st.timedeltas(-timedelta(days=1), most)).map(lambda s: (s[0], s[0] + s[1]))


def weekday_names() -> st.SearchStrategy[str]:
    days = st.sampled_from(WEEKDAYS) | st.sampled_from("0123456")
    parts = days | st.tuples(days, days).map("-".join)
    return st.lists(parts, min_size=1, max_size=3).map(",".join)


def calendars() -> st.SearchStrategy[Calendar]:
    """Of weekdays, which never end, and none among them."""
    return (st.sampled_from(["all", "none", "Mon-Fri", "Fri-Mon"]) | weekday_names()).map(get_calendar)


#: Days around the changes above, as a file may list them.
FILES = {
    "some": dates_from_text("some", "START 2021-01-01\nSTOP 2031-01-01\n2023-03-12\n2023-11-05\n2024-02-29")
}


def calendar_names() -> st.SearchStrategy[str]:
    """Of every kind and combined; those of `FILES` among them."""
    simple = weekday_names() | st.sampled_from(
        ["all", "none", "US-holidays", "DE-BY-business", "XNYS-business", "some"]
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.builds("({} {} {})".format, inner, st.sampled_from("&|-"), inner), inner.map("~{}".format)
        ),
        max_leaves=3,
    )


def any_calendars() -> st.SearchStrategy[Calendar]:
    """Of every kind and combined."""
    return calendar_names().map(lambda name: get_calendar(name, FILES))


def args() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(["a", "date", "region"]), st.text(max_size=4), max_size=2)


def _common() -> dict[str, Any]:
    stops = (
        st.none() | st.builds(StopDuration, st.floats(0.5, 1e6)) | st.builds(StopDaytime, daytimes(), zones())
    )
    return {
        "args": args(),
        "enabled": st.booleans(),
        "stop": stops,
        "jitter_s": st.sampled_from([0.0, 0.0, 1.0, 300.0, 7200.5]),
        "misfire": st.builds(
            MisfireRule,
            policy=st.sampled_from([None, "all", "latest", "none"]),
            max_age_s=st.sampled_from([86400.0, 60.0]),
            max_count=st.sampled_from([20, 0, 3]),
        ),
        "max_runs": st.sampled_from([None, 1, 3]),
    }


def dsts() -> st.SearchStrategy[Dst]:
    """Every policy for changes of the clocks."""
    gaps, folds = st.sampled_from(["skip", "shift"]), st.sampled_from(["first", "second", "both"])
    return st.builds(Dst, gap=gaps, fold=folds)


def _seconds(most: int) -> st.SearchStrategy[float]:
    return st.integers(60, most).map(float) | st.integers(60_000_000, most * 1_000_000).map(
        lambda us: us / 1e6
    )


def _intervals() -> st.SearchStrategy[IntervalSchedule]:
    @st.composite
    def built(draw: st.DrawFn) -> IntervalSchedule:
        interval_s = draw(_seconds(200_000))
        phase_s = draw(st.integers(0, int(interval_s) - 1).map(float))
        return draw(
            st.builds(IntervalSchedule, interval_s=st.just(interval_s), phase_s=st.just(phase_s), **_common())
        )

    return built()


def _bounds() -> st.SearchStrategy[Bound]:
    return st.builds(Bound, daytimes(), st.integers(-2, 2), st.integers(-2, 2))


def crons() -> st.SearchStrategy[str]:
    minutes = st.sampled_from(["0", "*", "*/7", "30", "1,31", "5-20"])
    hours = st.sampled_from(["*", "*/2", "1", "2", "1-3", "0,12"])
    return st.builds(
        "{} {} {} {} {}".format,
        minutes,
        hours,
        st.sampled_from(["*", "1", "L", "*/3"]),
        st.sampled_from(["*", "3", "MAR-NOV"]),
        st.sampled_from(["*", "MON-FRI", "0", "5#2"]),
    ) | st.sampled_from(["@hourly", "@daily", "@weekly", "@monthly"])


def schedules() -> st.SearchStrategy[Schedule]:
    """Of every kind; in a few days at most some thousands of times each."""
    daily = st.builds(
        DailySchedule,
        tz=zones(),
        daytimes=st.lists(daytimes(), min_size=1, max_size=4, unique=True).map(lambda d: tuple(sorted(d))),
        calendar=calendars() | any_calendars(),
        days_of_month=st.sampled_from([(), (), (1,), (3, -1), (31, -31)]),
        date_shift=st.integers(-3, 3),
        cal_shift=st.integers(-3, 3),
        dst=dsts(),
        **_common(),
    )
    windows = st.builds(
        DailyIntervalSchedule,
        tz=zones(),
        start=_bounds(),
        stop_before=_bounds(),
        interval_s=_seconds(80_000),
        calendar=calendars() | any_calendars(),
        dst=dsts(),
        **_common(),
    )
    explicit = st.builds(
        ExplicitSchedule,
        times=st.lists(instants(), min_size=1, max_size=5, unique=True).map(lambda t: tuple(sorted(t))),
        **_common(),
    )
    cron = st.builds(CronSchedule, cron=crons(), tz=zones(), dst=st.none() | dsts(), **_common())
    return _intervals() | daily | windows | explicit | cron


def texts() -> st.SearchStrategy[str]:
    """Any text that can be encoded, with quotes, backslashes and control characters."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
        ['"', "\\", "\x00", "\x1f\x7f", "åß\U0001d518", '","a":"b', "'; DROP TABLE runs; --"]
    )


def programs() -> st.SearchStrategy[Program]:
    """Those of runs: of every kind, with every key."""
    words = texts().filter(lambda t: "\0" not in t)
    named = words.filter(str.strip)
    sizes = st.none() | st.sampled_from([0.25, 4.0])
    commands = st.fixed_dictionaries({"command": words.map("echo {}".format)}) | st.fixed_dictionaries(
        {"argv": st.lists(words, min_size=1, max_size=2).map(tuple)}
    )
    keys = st.recursive(
        st.none() | st.integers(-9, 9) | words,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
        max_leaves=4,
    )
    customs = st.builds(
        Custom,
        type=st.sampled_from(["lib.Report", "a.b.C"]),
        keys=st.dictionaries(st.sampled_from(["day", "rows", "of"]), keys, max_size=3),
    )
    types = st.dictionaries(st.sampled_from(["day", "n"]), st.sampled_from(["date", "int"]), max_size=2)
    calls = st.builds(
        PythonCall,
        call=st.sampled_from(["lib:report", "a.b:C.d", "a.b.c"]),
        args=st.dictionaries(st.sampled_from(["day", "rows"]), keys, max_size=2),
        python=st.none() | named,
        types=types,
    )
    queries = st.builds(SqlQuery, query=named, types=types)
    notebooks = st.builds(
        Notebook,
        path=named,
        parameters=st.dictionaries(st.sampled_from(["day", "rows"]), keys, max_size=2),
        kernel=st.none() | named,
        cell_timeout_s=st.none() | st.sampled_from([0.5, 60.0]),
        python=st.none() | named,
        types=types,
    )
    kept_files = st.builds(
        KeptFile,
        path=named,
        name=st.none() | named.filter(lambda t: "/" not in t and t not in (".", "..")),
        required=st.booleans(),
        min_bytes=st.integers(0, 10**6),
        newer_than=st.sampled_from([None, "start"]),
    )
    shared = {
        "env": st.dictionaries(st.sampled_from(["A", "B"]), words),
        "env_file": st.none() | named,
        "cwd": st.none() | words,
        "user": st.none() | named,
        "pty": st.booleans(),
        "output": st.builds(Output, max_size_b=st.none() | st.integers(1, 10**12)),
        "outputs": st.lists(kept_files, max_size=2).map(tuple),
        "stop": st.just(Stop()) | st.builds(Stop, signal=st.sampled_from(["SIGINT", "SIGHUP"])),
        "timeout": st.none() | st.builds(Timeout, duration_s=st.sampled_from([0.5, 60.0])),
    }
    ours = shared | {
        "host": st.none() | st.sampled_from(["local", "west"]) | named,
        "resources": st.builds(
            Resources,
            memory_b=st.none() | st.integers(1, 10**12),
            cpu_time_s=st.none() | st.sampled_from([1.0, 3600.0]),
        ),
    }
    ecs = st.builds(
        Ecs,
        mem_gb=sizes,
        vcpu=sizes,
        disk_gb=sizes,
        role=st.none() | named,
        task_definition=st.none() | named,
    )

    @st.composite
    def processes(draw: st.DrawFn) -> Process:
        what, which = draw(st.sampled_from(["command", "task", "ecs"])), draw(st.sampled_from([ours, shared]))
        facts = draw(
            st.fixed_dictionaries({"task": customs | calls | queries | notebooks})
            if what == "task"
            else commands
        )
        if what == "ecs":
            which, facts = shared, facts | {"ecs": draw(ecs)}
        made = draw(st.builds(Process, **{name: st.just(v) for name, v in facts.items()}, **which))
        is_split = not made.pty and draw(st.booleans())
        return replace(made, output=replace(made.output, split=is_split))

    no_ops = st.builds(NoOp, duration_s=st.sampled_from([0.0, 1.5]), success=st.none() | st.booleans())
    internal = st.sampled_from(get_args(InternalType)).map(lambda kind: Internal(type=kind))
    places = st.none() | st.just("/backups")
    internal |= st.builds(Internal, type=st.just("backup"), to=places, keep=st.none() | st.just(3))
    internal |= st.builds(Internal, type=st.just("archive"), older_than_s=st.none() | st.just(86400.0))
    return processes() | no_ops | internal


def dates() -> st.SearchStrategy[date]:
    return st.dates(date(1, 2, 1), date(9999, 11, 30))


def params() -> st.SearchStrategy[Param]:
    """Of two types, with and without defaults and choices."""
    texts = st.builds(
        Param,
        name=st.sampled_from(["x", "y", "date"]),
        default=st.none() | st.text(max_size=3),
        description=st.none() | st.text(max_size=5),
    )
    numbers = st.builds(
        Param,
        name=st.sampled_from(["n", "m"]),
        type=st.just("int"),
        default=st.sampled_from([None, "1", "-2"]),
        choices=st.sampled_from([(), ("1", "-2", "30")]),
    )
    return texts | numbers


def whens() -> st.SearchStrategy[When]:
    """Every event alone and together with others."""
    events = st.sampled_from([*(state.value for state in State), LATE, MISSED, RECOVERED])
    return st.builds(When, st.frozensets(events, min_size=1, max_size=4))


def actions() -> st.SearchStrategy[Action]:
    """Of every kind."""
    schedule = st.builds(ScheduleAction, job_id=st.just("b/c"), args=args(), when=whens())
    addresses = st.sampled_from(["ops", "mailto://me:pass@mail.example", "slack://T1JJ3T3L2/A1BRTD4JD/x"])
    templates = st.none() | st.sampled_from(["{{ job_id }}: {{ event }}", "plain"])
    notify = st.builds(
        NotifyAction,
        to=st.lists(addresses.map(read_address), min_size=1, unique=True).map(tuple),
        title=templates,
        body=templates,
        when=whens(),
    )
    values = st.sampled_from(["Bearer abc", "secret:t"])
    webhook = st.builds(
        WebhookAction,
        url=st.sampled_from(["https://h.example/x?token=abc", "hook"]).map(read_web_address),
        method=st.sampled_from(METHODS),
        headers=st.dictionaries(st.sampled_from(["Authorization", "X-A"]), values.map(read_header)),
        secret=st.sampled_from([None, "key", "file:/run/key"]),
        body=templates,
        when=whens(),
    )
    shell = st.builds(ShellAction, command=st.sampled_from(["true", "a\nb"]), when=whens())
    return schedule | notify | webhook | shell


def yaml_values() -> st.SearchStrategy[Any]:
    """Any value that a YAML file may hold."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=8)
        | st.dates()
        | st.datetimes(timezones=st.none() | st.just(UTC))
        | st.sampled_from(["{{ date }}", "{{ x }", "5m", "09:00:00", "UTC", "success", "all"])
    )
    keys = st.text(max_size=6) | st.integers() | st.none() | st.sampled_from(JOB_WORDS)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )


#: Keys and values of job files, so that made-up mappings come near to real ones.
JOB_WORDS = (
    *(
        "params",
        "program",
        "schedule",
        "condition",
        "action",
        "successors",
        "metadata",
        "job_id",
        "ad_hoc",
        "late",
    ),
    *(
        "type",
        "interval",
        "phase",
        "daily",
        "tz",
        "daytime",
        "calendar",
        "date_shift",
        "cal_shift",
        "explicit",
    ),
    *(
        "daily-interval",
        "start",
        "stop",
        "duration",
        "times",
        "cron",
        "enabled",
        "args",
        "misfire",
        "env",
        "cwd",
    ),
    *("jitter", "dst", "gap", "fold", "policy", "max_age", "max_count", "max_runs", "day_of_month"),
    *(
        "no-op",
        "shell",
        "argv",
        "command",
        "procstar",
        "group_id",
        "success",
        "signal",
        "grace_period",
        "timeout",
    ),
    *("max_running", "count", "dependency", "states", "exist", "const", "value", "if", "resources"),
    *("late", "missed", "recovered", "finish", "finish_by"),
    *(
        "procstar-ecs",
        "procstar-shell",
        "host",
        "user",
        "sudo_user",
        "memory",
        "cpu_time",
        "mem_gb",
        "lib.Report",
        "python",
        "outputs",
        "output",
        "split",
        "required",
        "sql",
        "call",
        "query",
        "pty",
        "env_file",
    ),
    *("notify", "to", "title", "body", "webhook", "url", "method", "headers", "secret", "mailto://x"),
    *("labels", "description", "default", "choices", "int", "date"),
)


def job_mappings() -> st.SearchStrategy[dict[Any, Any]]:
    """What a job file may hold: mostly its keys, with values that are nearly right or not at all."""
    words = st.sampled_from(JOB_WORDS)
    values = st.recursive(
        yaml_values() | words,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=4),
        max_leaves=10,
    )
    return st.dictionaries(words | st.text(max_size=4), values, max_size=6)
