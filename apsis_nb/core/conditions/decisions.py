"""What a condition says of a run that waits."""

from dataclasses import dataclass
from typing import Literal

from apsis_nb.core.runs import Instance
from apsis_nb.core.states import State

Why = Literal["condition", "limit"]


@dataclass(frozen=True, slots=True)
class Yes:
    """The condition holds."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet."""

    text: str  #: why, for people
    why: Why = "condition"


@dataclass(frozen=True, slots=True)
class Ask:
    """Not yet, unless a run of `inst` ended in one of `states` long ago: the store must be asked, once."""

    text: str
    inst: Instance
    states: frozenset[State]
    exist: frozenset[State] = frozenset()  #: if not empty, a run of it must be in one of these or of `states`
    why: Why = "condition"


@dataclass(frozen=True, slots=True)
class Poll:
    """Nobody knows: the shell must look, now and then."""

    text: str
    why: Why = "condition"


@dataclass(frozen=True, slots=True)
class End:
    """The run ends without being run."""

    to: State
    text: str


Decision = Yes | Wait | Ask | Poll | End
