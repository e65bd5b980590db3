"""A job scheduler for people who live in notebooks: `import apsis_nb as ap`, then `ap.local("jobs/")`.

Importing this module loads nothing else of the package; each name below is loaded when it is first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from apsis_nb._version import __version__

if TYPE_CHECKING:
    from apsis_nb import widgets
    from apsis_nb.client import Client, Run
    from apsis_nb.notebook import connect, local, open, schedule_notebook
    from apsis_nb.simulation import expected, simulate

__all__ = [
    "Client",
    "Run",
    "__version__",
    "connect",
    "expected",
    "local",
    "open",
    "schedule_notebook",
    "simulate",
    "widgets",
]

_MODULES = {"widgets"}
_MODULE_OF = {
    "Client": "apsis_nb.client",
    "Run": "apsis_nb.client",
    "connect": "apsis_nb.notebook",
    "expected": "apsis_nb.simulation",
    "local": "apsis_nb.notebook",
    "open": "apsis_nb.notebook",
    "schedule_notebook": "apsis_nb.notebook",
    "simulate": "apsis_nb.simulation",
}


class _Package(ModuleType):
    """This module, which keeps `local` a function."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python sets a submodule as an attribute of its package. `apsis_nb.local` is one, and whoever imports
        # it first would leave a module where users call `ap.local("jobs/")`.
        if name in _MODULE_OF and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext apsis_nb`: the magics `%%apsis_sql` and `%%apsis_job`."""
    from apsis_nb.widgets.magics import load

    load(shell)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _MODULE_OF:
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value  # the next use does not come here
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
