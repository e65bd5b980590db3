"""What is shown in a cell of a notebook, and changes there later."""

import sys
import threading
from collections.abc import Callable

#: Seconds between two looks at what is shown: quick at first, then at ease.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.3, 5.0


def in_kernel() -> bool:
    """Whether this is the kernel of a notebook; elsewhere what was shown stays as it was."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def show_live(look: Callable[[], tuple[dict[str, str], bool]]) -> None:
    """Show something in a cell, and renew it as it changes.

    Args:
        look: gives how it is now, by media type, and whether it will change no more; called in a thread.
    """
    from IPython.display import display

    shown, is_over = look()
    handle = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def follow() -> None:
        before, over, pause_s = shown, is_over, _FIRST_LOOK_S
        while not over:
            threading.Event().wait(pause_s)
            now, over = look()
            if now != before:
                handle.update(now, raw=True)
                before, pause_s = now, _FIRST_LOOK_S
            pause_s = min(pause_s * 1.2, _LAST_LOOK_S)

    threading.Thread(target=follow, name="cell", daemon=True).start()
