"""The command line `apsis-nb`. Each command imports what it needs when it runs, so that `--help` is quick."""

import os
import sys

from apsis_nb.core.errors import ApsisError


def main() -> None:
    """Run the command that the arguments name, and exit: 0, 1 after an error, 2 for wrong usage."""
    from apsis_nb.cli.app import app
    from apsis_nb.cli.completion import get_ready

    get_ready()
    try:
        app(prog_name="apsis-nb")
    except ApsisError as error:
        _leave(str(error))
    except OSError as error:
        _leave(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        if os.environ.get("APSIS_NB_DEBUG"):
            raise
        _leave(f"this is a fault of apsis-nb: {type(error).__name__}: {error} (APSIS_NB_DEBUG=1 shows where)")


def _leave(message: str) -> None:
    sys.stderr.write(f"apsis-nb: {message}\n")
    sys.exit(1)
