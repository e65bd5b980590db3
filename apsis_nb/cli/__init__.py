"""The command line `apsis-nb`. Each command imports what it needs when it runs, so that `--help` is quick."""

import os
import sys

from apsis_nb.core.errors import ApsisError


def main() -> None:
    """Run the command that the arguments name, and exit: 0, 1 after an error, 2 for wrong usage."""
    from apsis_nb.cli.app import make_app
    from apsis_nb.cli.completion import get_ready

    is_completion = get_ready()
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        make_app(None if is_completion else wanted)(prog_name="apsis-nb")
    except ApsisError as error:
        _leave(str(error))
    except OSError as error:
        _leave(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        if os.environ.get("APSIS_NB_DEBUG"):
            raise
        _leave(f"this is a fault of apsis-nb: {type(error).__name__}: {error} (APSIS_NB_DEBUG=1 shows where)")


def _leave(message: str) -> None:
    # It may quote a job file, or what somebody else typed: nothing of that moves the cursor.
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in message)
    sys.stderr.write(f"apsis-nb: {shown}\n")
    sys.exit(1)
