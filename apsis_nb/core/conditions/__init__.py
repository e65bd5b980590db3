"""May a waiting run start?  Pure: looks at runs, never at a clock, a file or a database."""

from .decisions import Ask, Decision, End, Poll, Wait, Yes
from .kinds import (
    Condition,
    Const,
    CustomCondition,
    Dependency,
    FileExists,
    MaxRunning,
    ParamsOf,
    Polled,
    SkipDuplicate,
    SqlIsTrue,
)
from .reading import CONDITION_TYPES, condition_from_dict

__all__ = [
    "CONDITION_TYPES",
    "Ask",
    "Condition",
    "Const",
    "CustomCondition",
    "Decision",
    "Dependency",
    "End",
    "FileExists",
    "MaxRunning",
    "ParamsOf",
    "Poll",
    "Polled",
    "SkipDuplicate",
    "SqlIsTrue",
    "Wait",
    "Yes",
    "condition_from_dict",
]
