"""Who may come in: who shows a token, or the signed session that it was exchanged for."""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from apsis_nb.core.errors import ApsisError
from apsis_nb.server.callers import Caller
from apsis_nb.server.token_book import TokenBook

#: What a session is good for: a browser's log-in, or a page that the dashboards process makes for that
#: browser.
Use = Literal["browser", "dashboards"]

BROWSER_S = 30 * 86400.0  #: how long a browser stays logged in
_DASHBOARDS = "dashboards"  #: the process itself, as a caller
DASHBOARDS_S = 7 * 86400.0  #: how long an open page may go on asking


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Caller):
    """A caller who is known until a time, for one use."""

    use: Use
    expires: float  #: seconds since 1970, UTC


class Gatekeeper:
    """Knows callers by what they show.

    A session is signed, not stored: it outlives a restart of the server, and ends when its time is over or
    when the token or the secret is replaced.
    """

    def __init__(self, token: str, secret: bytes, user: str, book: TokenBook) -> None:
        """
        Args:
            token: whoever shows it is `user` with every right.
            secret: signs the sessions.
            user: the account that the server runs under.
            book: the tokens that were given out.
        """
        self.token, self.book = token, book
        self.owner = Caller(user=user, role="admin")
        self._signing_key = hmac.digest(secret, b"session " + token.encode(), hashlib.sha256)
        # A browser sends a cookie to every port of a host, so each server needs a name of its own.
        self.cookie = f"apsis_nb_{hashlib.sha256(secret).hexdigest()[:12]}"
        #: What the dashboards process adds to a page's session: a session alone, which is also in the page's
        #: HTML, opens nothing.
        self.dashboards_key = secrets.token_urlsafe(32)

    def holder(self, shown: str, *, now: float) -> Caller | None:
        """Who shows this token; how long the answer takes tells nothing of the tokens that there are."""
        if hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self.token.encode()):
            return self.owner
        return self.book.holder(shown, now)

    def sign(self, caller: Caller, use: Use, *, now: float, lasts_s: float) -> str:
        """The session of a caller as text, for a cookie or a header.

        Args:
            now: seconds since 1970.
            lasts_s: how long it is good for, seconds.
        """
        session = Session(
            user=caller.user,
            role=caller.role,
            paths=caller.paths,
            token=caller.token,
            use=use,
            expires=now + lasts_s,
        )
        body = base64.urlsafe_b64encode(json.dumps(asdict(session)).encode()).rstrip(b"=")
        return f"{body.decode()}.{self._mac(body)}"

    def session(self, signed: str, use: Use, *, now: float) -> Caller | None:
        """Whose session `sign` gave; None if it is not that, has ended, or is for another use.

        One that was made with a token that was given out ends with that token.
        """
        body, _, mac = signed.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body.encode()).encode()):
            return None
        try:
            session = Session(**json.loads(base64.urlsafe_b64decode(body + "==")))
        except (binascii.Error, ValueError, TypeError):
            return None  # signed by another version
        if session.use != use or now >= session.expires:
            return None
        if session.token is not None:
            return self.book.of_mark(session.token, now)
        return replace(session, paths=tuple(session.paths))

    def bearer(self, shown: str, *, now: float) -> Caller | None:
        """Who shows this as bearer token: a token, or the dashboards' key and a session."""
        holder = self.holder(shown, now=now)
        if holder is not None:
            return holder
        key, _, signed = shown.partition("~")
        if hmac.compare_digest(key.encode("utf-8", "surrogatepass"), self.dashboards_key.encode()):
            return self.session(signed, "dashboards", now=now)
        return None

    def dashboards_token(self, now: float) -> str:
        """The bearer token with which the dashboards process reads for itself, for as long as it lives."""
        reader = Caller(user=_DASHBOARDS, role="read")
        return f"{self.dashboards_key}~{self.sign(reader, 'dashboards', now=now, lasts_s=10 * 365 * 86400.0)}"

    def _mac(self, body: bytes) -> str:
        return hmac.new(self._signing_key, body, hashlib.sha256).hexdigest()


def open_gate(state_dir: Path, user: str) -> Gatekeeper:
    """The gatekeeper of a state folder; its token and secret are made when it has none.

    Raises:
        ApsisError: a file of them can be read by others, or not by us.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    book = TokenBook(state_dir / "tokens.json", taken=(user, _DASHBOARDS))
    return Gatekeeper(_kept(state_dir / "token"), _kept(state_dir / "secret").encode(), user, book)


def _kept(file: Path) -> str:
    """The text that is kept in a file that only its owner reads; random when there is no file yet."""
    if not file.exists():
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")  # made with mode 0600
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(secrets.token_urlsafe(32))
        # Of two servers that start at the same time, both must go on with the same text.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, file)
        os.unlink(temporary)
    try:
        mode = file.stat().st_mode & 0o777
        text = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ApsisError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ApsisError(f"{file}: is no token; remove it, and a new one is made") from None
    if mode & 0o077:
        raise ApsisError(
            f"{file}: others may read it; do `chmod 600 {file}`, or remove it, and a new one is made"
        )
    if len(text) < 16:
        raise ApsisError(f"{file}: is too short for a token; remove it, and a new one is made")
    return text
