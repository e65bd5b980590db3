"""The tokens that were given out: kept as hashes, in a file that only its owner reads."""

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from apsis_nb.core.errors import ApsisError, NotFound, Refused
from apsis_nb.server.callers import ROLES, Caller, Role

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that was given out. What was shown to its holder is not in it."""

    name: str  #: recorded as `by` of what its holder changes
    role: Role
    digest: str  #: SHA-256 of the token, which is too long to be guessed
    made_at: float  #: seconds since 1970
    by: str  #: who gave it out
    paths: tuple[str, ...] = ()
    expires_at: float | None = None  #: seconds since 1970; None: never

    @property
    def mark(self) -> str:
        """What stands for it in a session."""
        return self.digest[:16]

    def caller(self, now: float) -> Caller | None:
        """Its holder; None if its time is over."""
        if self.expires_at is not None and now >= self.expires_at:
            return None
        return Caller(user=self.name, role=self.role, paths=self.paths, token=self.mark)


class TokenBook:
    """The tokens of a server. A change is on the disk before it holds.

    Args:
        file: where they are kept.
        taken: names that no token may have, for they are those of others.

    Raises:
        ApsisError: the file is no such, or others can read it.
    """

    def __init__(self, file: Path, taken: Sequence[str] = ()) -> None:
        self._file, self._taken = file, frozenset(taken)
        self._tokens = _read(file)

    def __iter__(self) -> Iterator[Token]:
        return iter(self._tokens.values())

    def holder(self, shown: str, now: float) -> Caller | None:
        """Who shows this token; None: it is none, or its time is over."""
        digest = _digest(shown)
        found = [t for t in self._tokens.values() if hmac.compare_digest(t.digest, digest)]
        return found[0].caller(now) if found else None

    def of_mark(self, mark: str, now: float) -> Caller | None:
        """The holder of the token that a session was made with; None: it was revoked, or its time is over."""
        found = [t for t in self._tokens.values() if t.mark == mark]
        return found[0].caller(now) if found else None

    def make(
        self,
        *,
        role: Role,
        name: str | None,
        paths: Sequence[str],
        expires_at: float | None,
        by: str,
        now: float,
    ) -> tuple[str, Token]:
        """A new token, and what is kept of it. Blocks: call it in a thread.

        Args:
            role: what its holder may do.
            name: of the holder; None: one is made up.
            paths: folders of jobs, or jobs, that it is held to; none: all.
            expires_at, now: seconds since 1970.
            by: who gives it out.

        Raises:
            Refused: the name is taken, or the parts do not go together.
        """
        name = name or f"{role}-{secrets.token_hex(3)}"
        if not _NAME.fullmatch(name):
            raise Refused(f"name: {name!r} is no name: use up to 64 letters, digits, '.', '_', '-' and '@'")
        if name in self._tokens or name in self._taken:
            raise Refused(f"name: {name!r} is taken: give another, or revoke that token first")
        held_to = tuple(dict.fromkeys(path.strip("/") for path in paths))
        if "" in held_to:
            raise Refused("path: must name a folder of jobs, or a job; for all jobs give none")
        if held_to and role == "admin":
            raise Refused("path: an admin is held to no path; give the role write")
        if expires_at is not None and expires_at <= now:
            raise Refused("expires: that is past")
        shown = secrets.token_urlsafe(32)
        token = Token(
            name=name,
            role=role,
            digest=_digest(shown),
            made_at=now,
            by=by,
            paths=held_to,
            expires_at=expires_at,
        )
        self._keep({**self._tokens, name: token})
        return shown, token

    def revoke(self, name: str) -> Token:
        """Take a token back: at once nobody comes in with it any more. Blocks: call it in a thread.

        Raises:
            NotFound: there is none of this name.
        """
        if name not in self._tokens:
            raise NotFound(f"there is no token {name!r}: `apsis-nb token list` has the names")
        revoked = self._tokens[name]
        self._keep({n: token for n, token in self._tokens.items() if n != name})
        return revoked

    def _keep(self, tokens: dict[str, Token]) -> None:
        handle, temporary = tempfile.mkstemp(dir=self._file.parent, prefix=".tokens")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump([asdict(token) for token in tokens.values()], out, indent=1)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, self._file)
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise ApsisError(f"{self._file}: cannot be written: {error.strerror}") from None
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._tokens = tokens


def _digest(shown: str) -> str:
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()


def _read(file: Path) -> dict[str, Token]:
    """The tokens by name; none if there is no file."""
    try:
        mode, text = file.stat().st_mode & 0o777, file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ApsisError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ApsisError(f"{file}: holds no tokens; remove it to revoke them all") from None
    if mode & 0o077:
        raise ApsisError(f"{file}: others may read it; do `chmod 600 {file}`, or remove it to revoke them")
    try:
        tokens = [Token(**facts) for facts in json.loads(text)]
        tokens = [replace(token, paths=tuple(token.paths)) for token in tokens]
        if any(token.role not in ROLES for token in tokens):
            raise ValueError
    except (ValueError, TypeError):
        raise ApsisError(f"{file}: holds no tokens; remove it to revoke them all") from None
    return {token.name: token for token in tokens}
