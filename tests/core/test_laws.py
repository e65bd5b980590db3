"""The machine's laws, over generated worlds with crashes anywhere; and planted faults, which they find."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsis_nb.core import machine as machine_module
from apsis_nb.core.conditions import MaxRunning, Yes
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.events import (
    BackfillRequested,
    MarkRequested,
    PauseRequested,
    ResumeRequested,
    RunRequested,
    SkipRequested,
    StartRequested,
    StopRequested,
)
from apsis_nb.core.following import Following
from apsis_nb.core.instructions import SaveClock, WakeAt
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.machine import Machine
from apsis_nb.core.pauses import Pause
from apsis_nb.core.runs import Instance, Origin, Run
from apsis_nb.core.schedules import due_between
from apsis_nb.core.states import State
from tests.core.world import World, after

LENGTH_S = 40
#: Worlds are large: fewer of them than of other cases, but for `make soak`, which tries 10,000.
PROFILE = settings.get_current_profile_name()
WORLDS = {"few": 25, "soak": 10_000}.get(PROFILE, 60)


def chance(run: Run, what: str) -> float:
    """A number in [0, 1) that depends on the run alone."""
    return crc32(f"{run.run_id} {what}".encode()) / 2**32


def whens() -> st.SearchStrategy[dict[str, object]]:
    """What an action follows."""
    return st.sampled_from(
        [
            {"states": "success"},
            {"states": ["failure", "error"], "late": True},
            {"late": True},
            {"missed": True, "states": "skipped"},
            {"recovered": True},
        ]
    )


@st.composite
def conditions(draw: st.DrawFn, targets: list[str]) -> list[dict[str, object]]:
    """Conditions of every kind, in any order; dependencies on these jobs."""
    limit = st.sampled_from([{}, {"args": {}}, {"group": "g"}, {"group": "g"}, {"group": "h"}])
    kinds: list[st.SearchStrategy[dict[str, object]]] = [
        st.builds(lambda more, n: {"type": "max_running", "count": n, **more}, limit, st.integers(1, 2)),
        st.sampled_from([{"type": "skip_duplicate"}, {"type": "const", "value": True}]),
        st.sampled_from([{"type": "file", "path": "/there"}, {"type": "sql", "query": "SELECT true"}]),
    ]
    if targets:
        kinds.append(
            st.builds(
                lambda target, states, more: (
                    {"type": "dependency", "job_id": target, "states": states} | more
                ),
                st.sampled_from(targets),
                st.sampled_from(["success", ["failure", "error"]]),
                st.sampled_from([{}, {}, {"exist": True}]),
            )
        )
    return draw(st.lists(st.one_of(kinds), max_size=3))


def mark_of(run_id: int, state: State) -> Callable[[World], MarkRequested | None]:
    """A mark of a run, if there is one by then that has finished."""

    def wish(world: World) -> MarkRequested | None:
        run = world.saved.get(run_id)
        return None if run is None or not run.is_finished else MarkRequested(original=run, state=state)

    return wish


@st.composite
def jobs(draw: st.DrawFn) -> list[Job]:
    """A few jobs: intervals with jitter and limits, dependencies on earlier ones, actions on others."""
    made: list[Job] = []
    for n in range(draw(st.integers(1, 4))):
        data: dict[str, object] = {"program": {"type": "shell", "command": "true"}}
        if draw(st.booleans()):
            interval = draw(st.sampled_from([1, 2, 3.5, 7]))
            data["schedule"] = {
                "type": "interval",
                "interval": interval,
                "jitter": draw(st.sampled_from([0, 0, 1, 5, 90])),
                **draw(st.sampled_from([{}, {}, {"max_runs": 1}, {"max_runs": 2}])),
            }
        data["condition"] = draw(conditions([job.job_id for job in made]))
        if draw(st.booleans()):
            data["retry"] = draw(st.sampled_from([1, {"count": 2, "delay": 1.5, "backoff": 2}]))
        if draw(st.integers(0, 3)) == 0:
            data["waiting"] = {"max_time": draw(st.sampled_from([1, 4.5]))}
        if made and draw(st.booleans()):
            target = draw(st.sampled_from([job.job_id for job in made]))
            data["action"] = [
                {"type": "schedule", "job_id": target, "if": draw(whens())},
                {"type": "notify", "to": ["ops", "boss"], "if": draw(whens())},
            ]
        if draw(st.booleans()):
            data["late"] = {
                "start": draw(st.sampled_from([0, 0.5, 3])),
                **draw(st.sampled_from([{}, {"finish": 2}, {"finish": 6.5}, {"finish_by": "00:00:20"}])),
            }
        made.append(job_from_dict(f"job{n}", data))
    return made


class Piecemeal(Machine):
    """Looks at one run in each event, or makes one, and goes on in the next."""

    LOOKS = MAKES = 1


@st.composite
def worlds(draw: st.DrawFn, most_crashes: int = 4) -> World:
    """A world in which people ask for things, too; it has not run yet."""
    longest = draw(st.sampled_from([0.0, 0.5, 5.0]))
    world = World(
        jobs=draw(jobs()),
        duration_s=lambda run: longest * chance(run, "duration"),
        outcome=lambda run: "success" if chance(run, "outcome") < 0.7 else "failure",
        polled_s=lambda run: LENGTH_S * chance(run, "polled"),
        crash_at=draw(st.sets(st.integers(1, 300), max_size=most_crashes)),
        hiccups=draw(
            st.dictionaries(st.integers(1, 60), st.sampled_from(["lost", "repeated"]), max_size=most_crashes)
        ),
        new_machine=draw(st.sampled_from([Machine, Piecemeal, partial(Machine, limit=2, max_wait_s=9)])),
    )
    for _ in range(draw(st.integers(0, 6))):
        at = after(draw(st.integers(0, LENGTH_S - 5)))
        run_id = draw(st.integers(1, 80))
        job = draw(st.sampled_from(list(world.jobs)))
        later = draw(st.one_of(st.none(), st.integers(0, LENGTH_S - 5).map(after)))
        stop = draw(st.one_of(st.none(), st.just(at + timedelta(seconds=6))))
        world.ask(
            at,
            draw(
                st.sampled_from(
                    [
                        RunRequested(job_id=job.job_id, at=later, stop_at=stop, count=2),
                        StopRequested(run_id=run_id),
                        SkipRequested(run_id=run_id),
                        StartRequested(run_id=run_id),
                        mark_of(run_id, State.SUCCESS),
                        mark_of(run_id, State.FAILURE),
                        BackfillRequested(job_id=job.job_id, instances=(({}, None), ({}, at)), max_running=1),
                        PauseRequested(pause=Pause(scope="all", at=at, until=at + timedelta(seconds=7))),
                        PauseRequested(pause=Pause(scope="job", target=job.job_id, at=at)),
                        ResumeRequested(scope="job", target=job.job_id),
                    ]
                )
            ),
        )
    return world


def broken_laws(world: World) -> list[str]:
    """What a world did against the laws; empty if all is well."""
    broken = list(world.broken_laws)
    broken += [f"r{run_id} was started {n} times" for run_id, n in world.starts.items() if n > 1]
    for job in world.jobs:
        broken += limit_broken(world, job)
        broken += max_runs_broken(world, job)
        made = Counter(r.nominal_at for r in world.of_job(job.job_id) if r.origin is Origin.SCHEDULE)
        broken += [f"{job.job_id} has {n} runs for {at}" for at, n in made.items() if n > 1]
        assert world.clock is not None
        due = {
            (occurrence.at, at)
            for schedule in job.schedules
            for at, occurrence in due_between(
                job.job_id, schedule, world.began, world.clock + timedelta(microseconds=1)
            )
        }
        runs = [r for r in world.of_job(job.job_id) if r.origin is Origin.SCHEDULE]
        found = {(r.nominal_at, r.scheduled_at) for r in runs}
        if due != found:
            broken.append(f"{job.job_id} was due at {sorted(due)}, and has runs for {sorted(found)}")
        for run in runs:
            made_at = world.log[run.run_id][0][0]
            if made_at < run.scheduled_at:
                broken.append(f"{run.name} was made at {made_at}, before its time")
    for run in world.saved.values():
        if world.ended_as.get(run.run_id) is State.SUCCESS and run.started_at is None:
            broken.append(f"{run.name} succeeded and never started")
        broken += lateness_broken(world, run)
        broken += patience_broken(world, run)
        broken += retry_broken(world, run)
    broken += pools_broken(world)
    return broken + notices_broken(world)


def notices_broken(world: World) -> list[str]:
    """Notices of one event that were ordered twice, or never sent; or twice, and nothing crashed."""
    told = Counter(
        (n.run.name, n.event, (n.text or "").split(",")[0], str(n.action)) for n in world.notices.values()
    )
    broken = [f"{key} was ordered {n} times" for key, n in told.items() if n > 1]
    broken += [f"notice {key} was never sent" for key in world.notices if not world.sent[key]]
    return broken + [f"notice {key} was sent {n} times" for key, n in world.sent.items() if n > 1]


def pools_broken(world: World) -> list[str]:
    """More runs of a group, of all runs of a job, of a backfill or of the server than may be."""
    if any(isinstance(event, StartRequested) for _, event in world.asked):
        return []
    limits: dict[str, int] = {}
    for job in world.jobs:
        for c in job.conditions:
            if isinstance(c, MaxRunning) and (c.group is not None or c.args is not None):
                key = f"job {job.job_id}" if c.group is None else f"group {c.group}"
                # Of several counts the greatest is what all keep to.
                limits[key] = max(limits.get(key, 0), int(c.count))
    if isinstance(world.new_machine, partial):
        limits[""] = world.new_machine.keywords["limit"]
    backfills = [key for key in world.most_busy if isinstance(key, str) and key.startswith("group backfill")]
    limits |= dict.fromkeys(backfills, 1)
    return [
        f"{world.most_busy[key]} of {key or 'all'} at once: more than {most}"
        for key, most in limits.items()
        if world.most_busy[key] > most
    ]


def patience_broken(world: World, run: Run) -> list[str]:
    """A run that waits longer than it may."""
    if run.state is not State.WAITING or world.machine.clock is None:
        return []
    patience_s = world.patience_s(run)
    waited = world.machine.clock - run.state_at
    too_long = patience_s is not None and waited > timedelta(seconds=patience_s)
    return [f"{run.name} has waited {waited}"] if too_long else []


def retry_broken(world: World, run: Run) -> list[str]:
    """A bad end that was to be tried again, and was not, or more than once; or one that was not to be."""
    again = [r for r in world.saved.values() if r.rerun_of == run.run_id and r.origin is Origin.RETRY]
    ended = world.ended_as.get(run.run_id)
    wanted = ended is not None and run.retry is not None and run.retry.count > 0 and ended in run.retry.states
    if len(again) != wanted:
        return [f"{run.name} ended in {ended} and was tried again {len(again)} times"]
    return []


def lateness_broken(world: World, run: Run) -> list[str]:
    """Lateness that was told twice, or not although somebody wants to hear of it, or that was none."""
    lines = [line for line in world.said[run.run_id] if line and line.startswith("late: ")]
    if len(lines) != run.told_late_start + run.told_late_finish:
        return [f"{run.name} told of its lateness: {lines}"]
    if run.late_finish_at is None and not any("late" in action.when.events for action in run.actions):
        return [f"{run.name} told of its lateness, and nobody wants to hear"] if lines else []
    if run.is_finished and run.state is not State.SKIPPED:
        late = run.starts_late(world.now), run.ends_late(world.now)
        told = run.told_late_start, run.told_late_finish
        # A fact that was lost at first may come after its run was called late.
        was_told = all(said or not is_so for is_so, said in zip(late, told, strict=True))
        if late != told and not (world.hiccups and was_told):
            return [f"{run.name} is late {late}, and told {lines}"]
    return []


def limit_broken(world: World, job: Job) -> list[str]:
    """Runs beyond `max_running`. A run that a person started by hand may be one."""
    own = [c for c in job.conditions if isinstance(c, MaxRunning) and c.group is None and c.args is None]
    counts = [int(c.count) for c in own]
    by_hand = any(isinstance(event, StartRequested) for _, event in world.asked)
    if not counts or by_hand:
        return []
    return [
        f"{n} of {inst} at once: more than {min(counts)}"
        for inst, n in world.most_busy.items()
        if isinstance(inst, Instance) and inst.job_id == job.job_id and n > min(counts)
    ]


def max_runs_broken(world: World, job: Job) -> list[str]:
    """Runs that were begun although `max_runs` of the schedule were unfinished."""
    most = min((s.max_runs for s in job.schedules if s.max_runs is not None), default=None)
    runs = [r for r in world.of_job(job.job_id) if r.origin is Origin.SCHEDULE]
    if most is None:
        return []
    # A run is live from its first row to its last, if that is one of an end.
    spans = [
        (world.log[r.run_id][0][0], world.log[r.run_id][-1][0] if r.is_finished else world.now)
        for r in runs
        if r.state is not State.SKIPPED or r.skip_reason is None or not r.skip_reason.startswith("busy")
    ]
    crowds = (sum(began <= at < ended for began, ended in spans) for at, _ in spans)
    return [f"{n} unfinished runs of {job.job_id} at once: more than {most}" for n in crowds if n > most]


@settings(max_examples=WORLDS)
@given(worlds())
def test_the_laws_hold_whatever_crashes(world: World):
    world.run(after(LENGTH_S)).settle()

    assert broken_laws(world) == []


@settings(max_examples=WORLDS)
@given(worlds(most_crashes=0))
def test_everything_ends_when_nothing_holds_it(world: World):
    world.run(after(LENGTH_S))
    world.jobs = [Job(job_id=job.job_id, program=job.program) for job in world.jobs]
    world.boot()
    world.run(after(LENGTH_S + 1000))

    live = {run.state for run in world.saved.values() if not run.is_finished}
    assert live <= {State.WAITING}
    assert set(world.machine.runs) == {r.run_id for r in world.saved.values() if not r.is_finished}


@settings(max_examples=WORLDS)
@given(worlds())
def test_same_events_at_the_same_times_give_the_same_instructions(world: World):
    world.run(after(LENGTH_S))
    again = world.new_machine()

    for event, now, orders in world.story:
        if orders is None:
            with pytest.raises(ApsisError):
                again.handle(event, now)
        else:
            assert again.handle(event, now) == orders


@settings(max_examples=WORLDS)
@given(worlds(most_crashes=0), st.integers(1, LENGTH_S - 1))
def test_a_restart_changes_nothing_for_runs_that_are_not_in_flight(world: World, at: int):
    twin = World(jobs=world.jobs, duration_s=lambda run: 0.0)
    plain = World(jobs=world.jobs, duration_s=lambda run: 0.0)
    twin.run(after(at)).settle()
    twin.boot()
    twin.run(after(LENGTH_S)).settle()
    plain.run(after(LENGTH_S)).settle()

    def made(w: World) -> set[tuple[str, object]]:
        return {(r.job_id, r.nominal_at) for r in w.saved.values() if r.origin is Origin.SCHEDULE}

    assert made(twin) == made(plain)


def test_every_state_is_reached():
    data = {
        "program": {"type": "shell", "command": "true"},
        "schedule": {"type": "interval", "interval": 2},
        "condition": {"type": "max_running", "count": 1},
    }
    world = World(
        jobs=[job_from_dict("a", data)],
        duration_s=lambda run: 3.0,
        outcome=lambda run: ("success", "failure", "error")[run.run_id % 3],
    )
    world.ask(after(4.5), StopRequested(run_id=2))
    world.ask(after(20), RunRequested(job_id="a", at=after(30)))
    world.ask(after(9), SkipRequested(run_id=5))
    world.run(after(60))

    assert world.states_seen == set(State)
    assert broken_laws(world) == []


def planted(fault: World) -> World:
    return fault.run(after(30)).settle()


def busy_world(**keys: object) -> World:
    """One job that is always a little behind, so that limits and wake-ups matter; crashes included."""
    data = {
        "program": {"type": "shell", "command": "true"},
        "schedule": {"type": "interval", "interval": 1},
        "condition": {"type": "max_running", "count": 1},
    }
    return World(
        jobs=[job_from_dict("a", data)],
        duration_s=lambda run: 1.7,
        crash_at=set(range(5, 400, 7)),
        **keys,  # type: ignore[arg-type]
    )


def test_the_busy_world_keeps_the_laws():
    assert broken_laws(planted(busy_world())) == []


def test_the_laws_find_a_start_before_its_save():
    assert broken_laws(planted(busy_world(effects_first=True))) != []


def test_the_laws_find_a_limit_that_is_one_too_high(monkeypatch: pytest.MonkeyPatch):
    right = MaxRunning.decide

    def wrong(self: MaxRunning, run: Run, runs: machine_module.RunSet) -> object:
        return Yes() if runs.busy(self.pool or run.inst) == int(self.count) else right(self, run, runs)

    monkeypatch.setattr(MaxRunning, "decide", wrong)

    assert any("at once" in law for law in broken_laws(planted(busy_world())))


class Restless(Machine):
    """Orders a wake-up after every event."""

    def handle(self, event, now):  # type: ignore[no-untyped-def]
        return [*super().handle(event, now), WakeAt(cause=self._cause, at=now + timedelta(seconds=60))]


class Sleepless(Machine):
    """Orders the same wake-up again after every event."""

    def handle(self, event, now):  # type: ignore[no-untyped-def]
        orders = super().handle(event, now)
        return orders if self._wake is None else [*orders, WakeAt(cause=self._cause, at=self._wake)]


@pytest.mark.parametrize("fault", [Restless, Sleepless])
def test_the_laws_find_a_wake_up_after_every_event(fault: type[Machine]):
    assert broken_laws(planted(busy_world(new_machine=fault))) != []


class Nagging(Machine):
    """Forgets that it told of a lateness."""

    def _become_late(self, run, kind):  # type: ignore[no-untyped-def]
        super()._become_late(run, kind)
        self.runs.put(run)


def test_the_laws_find_lateness_that_is_told_twice():
    data = {
        "program": {"type": "shell", "command": "true"},
        "schedule": {"type": "interval", "interval": 5},
        "condition": {"type": "max_running", "count": 1},
        "late": {"start": 1, "finish": 8},
    }
    keys = {"jobs": [job_from_dict("a", data)], "duration_s": lambda run: 7.0}

    assert broken_laws(planted(World(**keys))) == []
    assert any(
        "told of its lateness" in law for law in broken_laws(planted(World(**keys, new_machine=Nagging)))
    )


class Uncounted(Following):
    """Does not count what is sent with the run."""

    def of(self, run, events):  # type: ignore[no-untyped-def]
        return run, super().of(run, events)[1]


class Unmindful(Machine):
    """Forgets what it has sent."""

    def __init__(self) -> None:
        super().__init__()
        self._following = Uncounted(())


def test_the_laws_find_a_notice_that_is_ordered_twice():
    data = {
        "program": {"type": "shell", "command": "true"},
        "schedule": {"type": "interval", "interval": 5},
        "action": {"type": "notify", "to": "ops", "if": {"states": ["running", "success"]}},
    }
    jobs = [job_from_dict("a", data)]

    assert broken_laws(planted(World(jobs=jobs, crash_at=set(range(5, 400, 7))))) == []
    assert any(
        "ordered twice" in law for law in broken_laws(planted(World(jobs=jobs, new_machine=Unmindful)))
    )
    assert any(
        "before it is saved" in law for law in broken_laws(planted(World(jobs=jobs, effects_first=True)))
    )


class Heedless(Machine):
    """Begins a run of a schedule however many are unfinished."""

    def _make_due(self, due, now):  # type: ignore[no-untyped-def]
        super()._make_due(replace(due, schedule=replace(due.schedule, max_runs=None)), now)


def test_the_laws_find_more_runs_than_a_schedule_may_have():
    data = {
        "program": {"type": "shell", "command": "true"},
        "schedule": {"type": "interval", "interval": 1, "max_runs": 2},
    }
    keys = {"jobs": [job_from_dict("a", data)], "duration_s": lambda run: 3.3}

    assert broken_laws(planted(World(**keys))) == []
    assert any("at once" in law for law in broken_laws(planted(World(**keys, new_machine=Heedless))))


class Early(Machine):
    """Takes what is due by its nominal time, as if there were no jitter."""

    def _make_due(self, due, now):  # type: ignore[no-untyped-def]
        super()._make_due(replace(due, at=due.occurrence.at), now)


def test_the_laws_find_jitter_that_is_forgotten():
    data = {
        "program": {"type": "shell", "command": "true"},
        "schedule": {"type": "interval", "interval": 2, "jitter": 7},
    }
    jobs, crash_at = [job_from_dict("a", data)], set(range(5, 400, 7))

    assert broken_laws(planted(World(jobs=jobs, crash_at=crash_at))) == []
    assert any("was due at" in law for law in broken_laws(planted(World(jobs=jobs, new_machine=Early))))


class Forgetful(Machine):
    """Saves a clock that is ahead of what it made."""

    def _advance(self, now, **more):  # type: ignore[no-untyped-def]
        super()._advance(now, **more)
        if now.second == 7:
            self._order(SaveClock(cause=self._cause, at=now + timedelta(seconds=1.5)))


def test_the_laws_find_a_run_that_is_lost():
    assert any("was due at" in law for law in broken_laws(planted(busy_world(new_machine=Forgetful))))
