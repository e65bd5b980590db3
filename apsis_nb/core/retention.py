"""How long what programs wrote is kept: the outputs of the runs of each job by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import JobError
from .fields import Fields, KeyPath, noun, within
from .programs import read_size
from .times import format_duration, parse_duration

_CENTURY_S = 100 * 365.25 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Which outputs of a job's runs are kept. What is beyond any of the bounds goes; None: no bound."""

    age_s: float | None = None  #: since the run finished
    size_b: int | None = None  #: of the newest runs together, as they lie on the disk
    count: int | None = None  #: of runs that have outputs

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file."""
        said = {"age": self.age_s, "bytes": self.size_b, "count": self.count}
        return {name: value for name, value in said.items() if value is not None}

    def why(self, bound: str) -> str:
        """What to say of a run that is beyond one of the bounds: `age`, `bytes` or `count`."""
        match bound:
            case "age":
                return f"older than {format_duration(self.age_s or 0)}"
            case "bytes":
                return f"more than {self.size_b} bytes of its job"
            case _:
                return f"not among the newest {self.count} of its job"


FOREVER = Keep()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRules:
    """What holds for the outputs of each job."""

    default: Keep = FOREVER
    of_jobs: Mapping[str, Keep]  #: by job id, where something else holds

    @property
    def keep_all(self) -> bool:
        """Whether nothing ever goes."""
        return all(keep == FOREVER for keep in (self.default, *self.of_jobs.values()))

    def of(self, job_id: str) -> Keep:
        """What holds for a job, also for one that is gone."""
        return self.of_jobs.get(job_id, self.default)


def retention_from(data: Any, path: KeyPath = ()) -> Keep | None:
    """What a job file says under `retention`; None: as the server says.

    Raises:
        JobErrors: what is wrong with it.
    """
    if data is None:
        return None
    fields = Fields(data, path, "'retention'")
    keep = fields.get_at("outputs", keep_from, None)
    fields.done()
    return keep


def keep_from(data: Any, path: KeyPath = ()) -> Keep:
    """What stands there under `outputs`; nothing: no bound.

    Raises:
        JobError, JobErrors: what is wrong with it.
    """
    if data is None:
        return FOREVER
    if not isinstance(data, Mapping):
        raise JobError(path, f"must be a mapping such as {{age: 90d, bytes: 10GB}}, not {noun(data)}")
    fields = Fields(data, path, "'outputs'")
    age_s = fields.get("age", _or_none(within(parse_duration, above=0, most=_CENTURY_S)), None)
    size_b = fields.get("bytes", _or_none(read_size), None)
    count = fields.get("count", _or_none(_read_count), None)
    fields.done()
    return Keep(age_s=age_s, size_b=size_b, count=count)


def _or_none(read: Any) -> Any:
    return lambda value: None if value is None else read(value)


def _read_count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"must be how many runs, from 1 on, not {noun(value)}")
    return value
