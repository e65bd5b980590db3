"""Programs and conditions that are classes of the user's own: what a job file may say of one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.fields import Fields, article


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassKeys:
    """The keys that a class takes from a job file: the arguments of its constructor."""

    of: Literal["program", "condition"] = "program"  #: what the class is
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    takes_any: bool = False  #: further ones, whatever they are called


#: Finds a class by its import path, `package.module.Class`; raises `ApsisError` if it cannot be used.
ClassOf = Callable[[str], ClassKeys]

_ABSENT: Any = object()


def is_import_path(kind: Any) -> bool:
    """Whether a `type` names a class of somebody's own: package.module.Class."""
    parts = kind.split(".") if isinstance(kind, str) else []
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def read_keys(
    kind: str,
    fields: Fields,
    read: Callable[[Any], Any],
    class_of: ClassOf | None,
    what: Literal["program", "condition"],
) -> dict[str, Any]:
    """The keys that a job file gives to a class.

    Args:
        kind: its import path.
        fields: what the job file says, but for the keys that are not for the class.
        read: reads a value.
        class_of: finds the class; None: none may be named.
        what: the class must be.

    Raises:
        JobErrors: the class cannot be used.
    """
    try:
        if class_of is None:
            raise ApsisError(
                f"'{kind}' is code of the server, which only the files of its job folder may name"
            )
        takes = class_of(kind)
        if takes.of != what:
            raise ApsisError(f"'{kind}' is {article(takes.of)}, and no {what}")
    except ApsisError as error:
        fields.fail(str(error), "type")
        fields.stop()
    keys = {name: fields.get(name, read) for name in takes.required}
    keys |= {name: fields.get(name, read, _ABSENT) for name in takes.optional}
    if takes.takes_any:
        keys |= {name: fields.get(name, read) for name in fields.names}
    return {name: value for name, value in keys.items() if value is not _ABSENT}
