"""The ways out: a message by apprise, a call by HTTP, a command. Each blocks, and raises when it fails."""

import base64
import hmac
import logging
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from apsis_nb.core.errors import ApsisError

#: How long a server may take to take up a connection, or to answer, seconds.
CONNECT_S, ANSWER_S = 10.0, 15.0
#: How long a monitor may take in all, seconds.
HEARTBEAT_S = 30.0
#: How long a command may take, seconds.
COMMAND_S = 60.0
#: Answers of a server that may be another a little later.
_PASSING = frozenset({408, 425, 429})
#: Loggers that would tell addresses, and with them secrets.
_TALKATIVE = ("httpx2", "httpcore2", "urllib3", "requests")


class SendFailed(ApsisError):
    """Something was not sent. The text holds no secret.

    Args:
        message: why.
        is_final: it would not be better a moment later.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def be_discreet() -> None:
    """Keep libraries from writing addresses into the server's log, whatever its level."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It tells the reasons of what fails, with the addresses: `notify` listens, and nobody else.
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    logging.getLogger("apprise").propagate = False


def notify(address: str, title: str, body: str, kind: str) -> None:
    """Send a message to an address that apprise knows.

    Args:
        address: `mailto://...`, `slack://...`
        title, body: plain text.
        kind: failure, warning, success or info.

    Raises:
        SendFailed: it was not sent.
    """
    import apprise

    # In this thread and no other: apprise's own would be waited for when the server ends.
    asset = apprise.AppriseAsset(
        app_id="apsis_nb", app_desc="apsis_nb", app_url="", async_mode=False, service_timeout=0
    )
    with _said_by("apprise") as said:
        there = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
        if there is None:
            raise SendFailed(f"apprise does not know such an address: {_scheme(address)}", is_final=True)
        sender = apprise.Apprise(asset=asset)
        sender.add(there)
        sent = sender.notify(body=body, title=title, notify_type=apprise.NotifyType(kind), body_format="text")
    if not sent:
        raise SendFailed(without_secrets(_why(said), address))


def call(
    url: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    media_type: str,
    *,
    message_id: str,
    secret: str | None,
    now: datetime,
) -> None:
    """Call a webhook; with a secret it is signed, as standardwebhooks.com has it.

    Args:
        message_id: always the same for the same event, so that who gets it twice can tell.
        secret: the key; one that begins with `whsec_` is in base 64 after that.

    Raises:
        SendFailed: it could not be reached, or did not answer with 2xx.
    """
    import httpx2

    stamp = str(int(now.timestamp()))
    told = {"Content-Type": media_type, "User-Agent": "apsis_nb"}
    told |= {"Webhook-Id": message_id, "Webhook-Timestamp": stamp}
    if secret is not None:
        told["Webhook-Signature"] = signature(secret, message_id, stamp, body)
    limits = httpx2.Timeout(ANSWER_S, connect=CONNECT_S)
    try:
        with httpx2.stream(method, url, headers={**told, **headers}, content=body, timeout=limits) as answer:
            status = answer.status_code
    except httpx2.TimeoutException:
        raise SendFailed("it does not answer") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as error:
        why = str(error) or type(error).__name__
        raise SendFailed(f"it cannot be reached: {without_secrets(why, url, *headers.values())}") from None
    if not 200 <= status < 300:
        raise SendFailed(f"it answered {status}", is_final=status < 500 and status not in _PASSING)


def signature(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    """The signature of a call: HMAC-SHA256 over its id, its time and its body."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            raise SendFailed("its secret begins with whsec_, but is not in base 64", is_final=True) from None
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode()


def get(url: str) -> None:
    """Tell a monitor that we live.

    Raises:
        SendFailed: it could not be reached, or did not answer with 2xx or 3xx.
    """
    import httpx2

    try:
        answer = httpx2.get(url, timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as error:
        why = str(error) or type(error).__name__
        raise SendFailed(f"it cannot be reached: {without_secrets(why, url)}") from None
    if answer.status_code >= 400:
        raise SendFailed(f"it answered {answer.status_code}")


def run(command: str, env: Mapping[str, str], cwd: Path) -> None:
    """Run a command by bash; after `COMMAND_S` seconds it is killed.

    Raises:
        SendFailed: it exits with another status than 0, or takes too long. It is not to be tried again: it
            may have done half of its work.
    """
    # Into a file: what it leaves running may hold a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                ["/bin/bash", "-c", command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise SendFailed(f"the command cannot be started: {error}", is_final=True) from None
        try:
            code = process.wait(COMMAND_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise SendFailed(f"the command took longer than {COMMAND_S:g} s", is_final=True) from None
        if code != 0:
            output.seek(max(0, output.tell() - 1000))
            lines = output.read().decode("utf-8", "replace").strip().splitlines()
            how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            raise SendFailed(f"{how}: {lines[-1]}"[:500] if lines else how, is_final=True)


def without_secrets(text: str, *secrets: str) -> str:
    """The text with every piece of some addresses or other secrets struck out."""
    pieces = {piece for secret in secrets for piece in re.split(r"[\s/:@?&=,;#]+", secret) if len(piece) > 3}
    pieces |= {secret for secret in secrets if secret}
    for piece in sorted(pieces - _HARMLESS, key=len, reverse=True):
        text = text.replace(piece, "***")
    return text[:500]


#: Words of addresses that are in many messages.
_HARMLESS = frozenset({"http", "https", "mailto", "mailtos", "smtp", "localhost", "from", "name", "true"})


def _scheme(address: str) -> str:
    return address.partition("://")[0][:20] + "://"


def _why(said: Sequence[logging.LogRecord]) -> str:
    """Why apprise failed: its last warning, and the error that it mentions only by the way."""
    warnings = [record.getMessage() for record in said if record.levelno >= logging.WARNING]
    errors = [found[1] for record in said if (found := _ERROR.search(record.getMessage()))]
    errors = [text.rpartition(": ")[2].rstrip("\"')") if "Caused by" in text else text for text in errors]
    return ": ".join([*warnings[-1:], *errors[-1:]]) or "apprise does not say why"


_ERROR = re.compile(r"Exception: (.+)")


@contextmanager
def _said_by(name: str) -> Iterator[list[logging.LogRecord]]:
    """What a logger says in this thread."""
    said: list[logging.LogRecord] = []
    logger, thread = logging.getLogger(name), threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(record)

    listener = Listener()
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
