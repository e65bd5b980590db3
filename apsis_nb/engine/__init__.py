"""The shell around the machine: clock, queue, and the hands that carry its instructions out."""

from .engine import Engine
from .senders import SendFailed

__all__ = ["Engine", "SendFailed"]
