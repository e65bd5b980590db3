"""Programs that are classes of the user's own: what a job file may say of one."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassKeys:
    """The keys that a class takes from a job file: the arguments of its constructor."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    takes_any: bool = False  #: further ones, whatever they are called


#: Finds a class by its import path, `package.module.Class`; raises `ApsisError` if it cannot be used.
ClassOf = Callable[[str], ClassKeys]
