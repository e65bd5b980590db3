"""The server's own log: one line an event, with the run and the request that it is about."""

import json
import logging
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler, WatchedFileHandler

from apsis_nb.config import Config
from apsis_nb.config import Log as Settings
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.times import format_time

#: The id of the request that is being answered; what is logged meanwhile has it.
REQUEST: ContextVar[str | None] = ContextVar("request", default=None)

#: Loggers of libraries that tell of each request or connection.
_CHATTY = ("httpx2", "httpcore2", "uvicorn", "websockets", "watchfiles")


def set_up_log(config: Config) -> None:
    """Log as the config says: to standard error or its file, as text or JSON.

    Raises:
        ApsisError: the file cannot be written.
    """
    handler = _handler(config.log)
    handler.addFilter(_add_request)
    handler.setFormatter(JsonLines() if config.log.format == "json" else TextLines())
    level = getattr(logging, config.log.level.upper())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _handler(settings: Settings) -> logging.Handler:
    file = settings.file
    if file is None:
        return logging.StreamHandler(sys.stderr)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if settings.rotate.size is None:
            return WatchedFileHandler(file, encoding="utf-8")  # whoever moves it away gets a new one made
        size_b, keep = settings.rotate.size, settings.rotate.keep
        return RotatingFileHandler(file, maxBytes=size_b, backupCount=keep, encoding="utf-8")
    except OSError as error:
        raise ApsisError(f"log.file: {file} cannot be written: {error.strerror}") from None


def _add_request(record: logging.LogRecord) -> bool:
    """The request is known only where it is logged, which is also where filters of handlers run."""
    record.request = REQUEST.get()
    return True


class TextLines(logging.Formatter):
    """Lines for people; times in UTC. What follows the first line of an event is indented."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s%(about)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.about = "".join(f" {name}={value}" for name, value in _about(record).items())
        record.message = record.message.replace("\n", "\n    ")
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """An object a line, for programs: at, level, logger, message, and run, request and error if there are."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "at": format_time(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_info:
            facts["error"] = self.formatException(record.exc_info)
        return json.dumps(facts, ensure_ascii=False)


def _about(record: logging.LogRecord) -> dict[str, str]:
    """The ids of what it is about: `run` is given by whoever logs, as `extra`."""
    ids = {name: getattr(record, name, None) for name in ("run", "request")}
    return {name: str(value) for name, value in ids.items() if value is not None}
