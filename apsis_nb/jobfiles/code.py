"""Code that the files of a job folder name: imported, with what is wrong with it in words."""

import inspect
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType

from apsis_nb.condition import Condition
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.fields import suggestion
from apsis_nb.core.programs import COMMON_KEYS, ClassKeys
from apsis_nb.program import Program

#: The path of modules belongs to the whole process.
_importing = threading.RLock()
#: What a class of a condition cannot take.
_KEYS_OF_CONDITIONS = frozenset({"type", "enabled"})


def import_from(module_name: str, root: Path | None = None) -> ModuleType:
    """A module.

    Args:
        module_name: its full name.
        root: a folder in which it may lie.

    Raises:
        ApsisError: it cannot be imported.
    """
    with _importing:
        before = list(sys.path)
        if root is not None:
            sys.path.insert(0, str(root.absolute()))
        try:
            return import_module(module_name)
        except Exception as error:  # whatever the module runs into
            raise ApsisError(f"'{module_name}' cannot be imported: {type(error).__name__}: {error}") from None
        finally:
            sys.path[:] = before


def class_keys(import_path: str, *, root: Path | None = None) -> ClassKeys:
    """The keys that a class of a program or a condition takes.

    Args:
        import_path: package.module.Class.
        root: a folder in which its module may lie.

    Raises:
        ApsisError: there is no such class, or it is none for these.
    """
    return _keys_of(import_class(import_path, root=root))


def import_class(import_path: str, *, root: Path | None = None) -> type[Program] | type[Condition]:
    """A class of a program or a condition.

    Args:
        import_path: package.module.Class.
        root: a folder in which its module may lie.

    Raises:
        ApsisError: there is no such class, or it is none for these.
    """
    module_name, _, name = import_path.rpartition(".")
    module = import_from(module_name, root)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise ApsisError(f"'{module_name}' has no class '{name}'{suggestion(name, vars(module))}")
    if not issubclass(found, Program | Condition):
        raise ApsisError(
            f"'{import_path}' is no program and no condition: "
            f"write 'class {name}(apsis_nb.program.Program)' or 'class {name}(apsis_nb.condition.Condition)'"
        )
    if inspect.isabstract(found):
        what, method = ("program", "run") if issubclass(found, Program) else ("condition", "check")
        raise ApsisError(f"'{import_path}' is no {what} yet: it has no method '{method}(self, run)'")
    return found


def _keys_of(found: type[Program] | type[Condition]) -> ClassKeys:
    is_program = issubclass(found, Program)
    taken = COMMON_KEYS if is_program else _KEYS_OF_CONDITIONS
    required, optional, takes_any = [], [], False
    for name, parameter in inspect.signature(found).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            raise ApsisError(f"'{found.__name__}' takes '{name}' only by position, and a job file has names")
        elif name in taken:
            every = "program" if is_program else "condition"
            raise ApsisError(f"'{found.__name__}' takes '{name}', which means something for every {every}")
        elif parameter.default is parameter.empty:
            required.append(name)
        else:
            optional.append(name)
    return ClassKeys(
        of="program" if is_program else "condition",
        required=tuple(required),
        optional=tuple(optional),
        takes_any=takes_any,
    )
