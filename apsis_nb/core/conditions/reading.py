"""Conditions from the mappings of a job file, and from what the store kept of a run."""

from collections.abc import Mapping
from typing import Any

from apsis_nb.core.errors import JobError
from apsis_nb.core.fields import (
    Fields,
    KeyPath,
    article,
    choose,
    noun,
    read_bool,
    read_name,
    read_text,
    read_text_map,
    suggestion,
    within,
)
from apsis_nb.core.programs import (
    NO_SITE,
    Site,
    is_import_path,
    read_keys,
    read_program_text,
    read_template,
    read_templates,
    values,
)
from apsis_nb.core.runs import Instance
from apsis_nb.core.runset import Group, Matching, Pool
from apsis_nb.core.states import FINISHED, TRANSITIONS, State
from apsis_nb.core.templates import check
from apsis_nb.core.times import parse_duration

from .kinds import (
    FILE_EVERY_S,
    SQL_EVERY_S,
    Condition,
    Const,
    CustomCondition,
    Dependency,
    FileExists,
    MaxRunning,
    SkipDuplicate,
    SqlIsTrue,
)

CONDITION_TYPES = ("dependency", "max_running", "skip_duplicate", "const", "file", "sql")


def condition_from_dict(
    data: Any, path: KeyPath = (), *, site: Site = NO_SITE, is_bound: bool = False
) -> Condition:
    """The condition that a mapping of a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`.
        path: where it stands in the job file, for errors.
        site: what it may name.
        is_bound: it is that of a run: what looks like a template in it is text that came out of one, and
            what it names was there when the run was made.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    if isinstance(data, Mapping) and is_import_path(data.get("type")):
        kind = str(data["type"])
    else:
        kind = choose(data, path, "condition", CONDITION_TYPES)
    fields = Fields(data, path, f"{article(kind)} condition")
    fields.get("type", str)
    enabled = fields.get("enabled", _read_enabled, True)
    condition: Condition
    match kind:
        case "const":
            condition = Const(value=fields.get("value", read_bool), enabled=enabled)
        case "max_running":
            condition = _max_running(fields, enabled, is_bound=is_bound)
        case "dependency":
            condition = _dependency(fields, enabled, is_bound=is_bound)
        case "skip_duplicate":
            default = SkipDuplicate()
            condition = SkipDuplicate(
                check_states=fields.get_at("check_states", _live_states, default.check_states),
                target_state=fields.get_at("target_state", _end_state, default.target_state),
                enabled=enabled,
            )
        case "file":
            condition = FileExists(
                path=fields.get("path", read_name if is_bound else _read_template),
                min_bytes=fields.get("min_bytes", _read_size, 0),
                poll_s=fields.get("poll_interval", _read_poll, FILE_EVERY_S),
                enabled=enabled,
            )
        case "sql":
            condition = SqlIsTrue(
                query=fields.get("query", read_name),
                args=fields.get("args", read_text_map, {}) if is_bound else {},
                poll_s=fields.get("poll_interval", _read_poll, SQL_EVERY_S),
                enabled=enabled,
            )
        case _:
            keys = _keys(kind, fields, site, is_bound=is_bound)
            condition = CustomCondition(type=kind, keys=keys, enabled=enabled)
    fields.done()
    return condition


def _keys(kind: str, fields: Fields, site: Site, *, is_bound: bool) -> dict[str, Any]:
    """The keys of a class of the user's own."""
    if is_bound:
        return {name: fields.get(name, values(read_program_text)) for name in fields.names}
    return read_keys(kind, fields, values(read_template), site.class_of, "condition")


def _max_running(fields: Fields, enabled: bool | str, *, is_bound: bool) -> MaxRunning:
    group: str | None = fields.get("group", read_name if is_bound else _read_template, None)
    job_id = fields.get("job_id", lambda value: None if value is None else read_name(value), None)
    args = fields.get("args", read_text_map if is_bound else read_templates, None)
    if group is not None and (job_id is not None or args is not None):
        fields.fail("a 'group' counts runs of all jobs that name it: leave out 'job_id' and 'args'", "group")
    pool = _pool(fields) if is_bound else None
    return MaxRunning(
        count=fields.get("count", _read_count, 1),
        job_id=job_id,
        args=args,
        group=group,
        pool=pool,
        enabled=enabled,
    )


def _dependency(fields: Fields, enabled: bool | str, *, is_bound: bool) -> Dependency:
    states = fields.get_at("states", states_from, frozenset({State.SUCCESS}))
    exist = fields.get_at("exist", lambda value, at: _exist_from(value, at, states), frozenset[State]())
    return Dependency(
        job_id=fields.get("job_id", read_text if is_bound else _read_template),
        args=fields.get("args", read_text_map if is_bound else read_templates, {}),
        states=states,
        exist=exist,
        inst=fields.get("inst", _inst_from, None) if is_bound else None,
        enabled=enabled,
    )


def states_from(data: Any, path: KeyPath = ()) -> frozenset[State]:
    """One or several finished states, as a job file names them.

    Raises:
        JobError: a name is not that of a state in which a run ends.
    """
    finished = {s.value: s for s in State if s in FINISHED}
    return _states(data, path, finished, "no state in which a run ends")


def _live_states(data: Any, path: KeyPath) -> frozenset[State]:
    live = {s.value: s for s in State if s not in FINISHED}
    return _states(data, path, live, "no state of a run that has not ended")


def _end_state(data: Any, path: KeyPath) -> State:
    if isinstance(data, list):
        raise JobError(path, "must be one state, not a list")
    state = next(iter(states_from(data, path)))
    if state not in TRANSITIONS[State.WAITING]:
        raise JobError(
            path, f"a run that was not run cannot end in '{state.value}': write 'skipped' or 'error'"
        )
    return state


def _states(data: Any, path: KeyPath, known: dict[str, State], what: str) -> frozenset[State]:
    names = data if isinstance(data, list | tuple) else [data]
    if not names:
        raise JobError(path, f"must name one or more of {', '.join(known)}")
    for n, name in enumerate(names):
        if not isinstance(name, str) or name not in known:
            hint = suggestion(str(name), known) or f": one of {', '.join(known)}"
            at = (*path, n) if names is data else path
            raise JobError(at, f"{noun(name)} is {what}{hint}")
    return frozenset(known[n] for n in names)


def _exist_from(data: Any, path: KeyPath, states: frozenset[State] | None) -> frozenset[State]:
    """In which states a run must be for there to be hope; `true`: those that lead to one of `states`."""
    wanted = states or frozenset({State.SUCCESS})
    if data is False:
        raise JobError(path, "must be true, a state or a list of states; leave it out to wait for ever")
    if data is True:
        return frozenset(s for s in State if _leads_to(s) & wanted)
    exist = _states(data, path, {s.value: s for s in State}, "no state")
    if not wanted <= exist:
        missing = ", ".join(sorted(s.value for s in wanted - exist))
        raise JobError(path, f"must name all of 'states', too: {missing}")
    return exist


def _leads_to(state: State) -> frozenset[State]:
    """The states that a run in `state` may come to, with its own."""
    found, new = {state}, {state}
    while new:
        new = {to for come_from in new for to in TRANSITIONS[come_from]} - found
        found |= new
    return frozenset(found)


def _read_enabled(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be true, false or a quoted template, not {noun(value)}")
    check(value)
    return value


def _read_count(value: Any) -> int | str:
    if isinstance(value, str) and "{" in value:
        check(value)
        return value
    count = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"must be a whole number above 0, or a template, not {noun(value)}")
    return count


def _read_template(value: Any) -> str:
    text = read_name(value)
    check(text)
    return text


def _read_size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"must be a number of bytes, not {noun(value)}")
    return value


_read_poll = within(parse_duration, least=0.1, most=86400)


# -- what only the store writes


def _inst_from(data: Any) -> Instance:
    try:
        return Instance.of(read_text(data["job_id"]), read_text_map(data["args"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError("is no instance of a job") from None


def _pool(fields: Fields) -> Pool | None:
    inst: Instance | None = fields.get("inst", _inst_from, None)
    matching: Instance | None = fields.get("matching", _inst_from, None)
    group: str | None = fields.get("in", read_text, None)
    if group is not None:
        return Group(group)
    return inst if matching is None else Matching(matching.job_id, matching.args)
