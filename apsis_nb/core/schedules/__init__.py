"""When does a job run?  Schedules, as values, and the times that they give."""

from .due import DueTime, count_due, counts_between, due_between
from .kinds import (
    Bound,
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    Dst,
    ExplicitSchedule,
    IntervalSchedule,
    Misfire,
    MisfireRule,
    Occurrence,
    Schedule,
    StopDaytime,
    StopDuration,
    StopRule,
)
from .reading import SCHEDULE_TYPES, schedule_from_dict
from .times import count_between, stop_time, times_between
from .warnings import warnings_of
from .words import explain
from .writing import schedule_to_dict

__all__ = [
    "SCHEDULE_TYPES",
    "Bound",
    "CronSchedule",
    "DailyIntervalSchedule",
    "DailySchedule",
    "Dst",
    "DueTime",
    "ExplicitSchedule",
    "IntervalSchedule",
    "Misfire",
    "MisfireRule",
    "Occurrence",
    "Schedule",
    "StopDaytime",
    "StopDuration",
    "StopRule",
    "count_between",
    "count_due",
    "counts_between",
    "due_between",
    "explain",
    "schedule_from_dict",
    "schedule_to_dict",
    "stop_time",
    "times_between",
    "warnings_of",
]
