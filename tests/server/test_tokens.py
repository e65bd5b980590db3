"""Who may come in."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from apsis_nb.core.errors import ApsisError
from apsis_nb.server.callers import Caller
from apsis_nb.server.token_book import TokenBook
from apsis_nb.server.tokens import Gatekeeper, open_gate

NO_FILE = Path("/nonexistent/tokens.json")
ANN = Caller(user="ann", role="admin")


def gate(token: str = "t" * 32, secret: bytes = b"secret") -> Gatekeeper:
    return Gatekeeper(token, secret, "ann", TokenBook(NO_FILE))


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = open_gate(tmp_path / "state", "ann")
    assert open_gate(tmp_path / "state", "ann").token == first.token
    assert len(first.token) >= 32
    for name in ("token", "secret"):
        assert (tmp_path / "state" / name).stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == ["secret", "token"]


def test_two_state_folders_have_two_tokens(tmp_path: Path) -> None:
    assert open_gate(tmp_path / "a", "ann").token != open_gate(tmp_path / "b", "ann").token


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_gate(tmp_path, "ann")
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(ApsisError, match="others may read it; do `chmod 600"):
        open_gate(tmp_path, "ann")


@pytest.mark.parametrize("text", ["", "short", "\xff" * 40])
def test_a_token_file_that_holds_none_is_refused(tmp_path: Path, text: str) -> None:
    open_gate(tmp_path, "ann")
    (tmp_path / "token").write_text(text, encoding="latin-1")
    with pytest.raises(ApsisError, match="a new one is made"):
        open_gate(tmp_path, "ann")


def test_a_session_tells_who_it_is_until_its_time_is_over() -> None:
    signed = gate().sign(ANN, "browser", now=1000.0, lasts_s=60)
    session = gate().session(signed, "browser", now=1059.9)  # another start of the same server
    assert session is not None
    assert (session.user, session.role) == ("ann", "admin")
    assert gate().session(signed, "browser", now=1060.0) is None


def test_a_session_is_for_one_use() -> None:
    signed = gate().sign(ANN, "dashboards", now=0, lasts_s=60)
    assert gate().session(signed, "browser", now=1) is None


@pytest.mark.parametrize("other", [gate(token="u" * 32), gate(secret=b"other")])
def test_a_session_ends_when_token_or_secret_is_replaced(other: Gatekeeper) -> None:
    signed = gate().sign(ANN, "browser", now=0, lasts_s=60)
    assert other.session(signed, "browser", now=1) is None


def test_nobody_makes_a_session_of_their_own() -> None:
    signed = gate().sign(Caller(user="bob", role="read"), "browser", now=0, lasts_s=60)
    body, _, mac = signed.partition(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "==")) | {"role": "admin"}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    for text in (f"{forged}.{mac}", f"{forged}.", forged, "", ".", "a.b", signed[:-1], "é.é"):
        assert gate().session(text, "browser", now=1) is None


def test_a_session_of_another_version_is_none() -> None:
    ours = gate()
    body = base64.urlsafe_b64encode(b'{"name": "ann"}')
    assert ours.session(f"{body.decode()}.{ours._mac(body)}", "browser", now=1) is None


def test_the_token_is_its_owner() -> None:
    assert gate().bearer("t" * 32, now=0) == ANN
    assert gate().bearer("t" * 31 + "é", now=0) is None


def test_the_dashboards_session_opens_nothing_without_their_key() -> None:
    ours = gate()
    signed = ours.sign(ANN, "dashboards", now=0, lasts_s=60)
    assert ours.bearer(signed, now=1) is None
    assert ours.bearer(f"{gate().dashboards_key}~{signed}", now=1) is None  # the key of another start
    caller = ours.bearer(f"{ours.dashboards_key}~{signed}", now=1)
    assert caller is not None
    assert caller.user == "ann"


def test_a_browsers_session_is_no_bearer_token_of_the_dashboards() -> None:
    ours = gate()
    signed = ours.sign(ANN, "browser", now=0, lasts_s=60)
    assert ours.bearer(f"{ours.dashboards_key}~{signed}", now=1) is None


def test_the_dashboards_process_itself_may_only_read() -> None:
    ours = gate()
    caller = ours.bearer(ours.dashboards_token(now=0), now=86400 * 365)
    assert caller is not None
    assert caller.role == "read"


# -- tokens that were given out


def made(book: TokenBook, name: str = "bob", **more: Any) -> str:
    """A new token, as its holder shows it."""
    given = {"role": "run", "paths": (), "expires_at": None, "by": "ann", "now": 0.0}
    return book.make(name=name, **(given | more))[0]


def test_a_token_that_is_given_out_outlives_a_restart_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    shown = made(open_gate(tmp_path, "ann").book, paths=("/sales/", "ops"), expires_at=100.0)
    file = tmp_path / "tokens.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert shown not in file.read_text()
    again = open_gate(tmp_path, "ann")
    caller = again.bearer(shown, now=99.0)
    assert caller is not None
    assert (caller.user, caller.role, caller.paths) == ("bob", "run", ("sales", "ops"))
    assert again.bearer(shown, now=100.0) is None
    assert again.bearer(f"{shown}x", now=1.0) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret", "token", "tokens.json"]


def test_a_session_ends_with_the_token_that_it_was_made_with(tmp_path: Path) -> None:
    ours = open_gate(tmp_path, "ann")
    bob = ours.holder(made(ours.book, expires_at=100.0), now=1)
    assert bob is not None
    signed = ours.sign(bob, "browser", now=1, lasts_s=1000)
    assert ours.session(signed, "browser", now=99) == bob
    assert ours.session(signed, "browser", now=100) is None
    ours.book.revoke("bob")
    assert ours.session(signed, "browser", now=2) is None
    made(ours.book, role="admin")
    assert ours.session(signed, "browser", now=2) is None  # another token of the same name


@pytest.mark.parametrize("name", ["ann", "dashboards", "bob", "a b", "-x", "a" * 65, "a/b"])
def test_a_name_belongs_to_one_caller(tmp_path: Path, name: str) -> None:
    book = open_gate(tmp_path, "ann").book
    made(book)
    with pytest.raises(ApsisError, match="name: "):
        made(book, name)


@pytest.mark.parametrize("text", ["x", '{"a": 1}', '[{"name": "bob"}]', '[{"role": "king"}]', "[1]", "\xff"])
def test_a_file_of_tokens_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokens.json"
    file.touch(0o600)
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ApsisError, match="holds no tokens; remove it to revoke them all"):
        open_gate(tmp_path, "ann")


def test_a_file_of_tokens_that_others_can_read_is_refused(tmp_path: Path) -> None:
    made(open_gate(tmp_path, "ann").book)
    (tmp_path / "tokens.json").chmod(0o640)
    with pytest.raises(ApsisError, match="others may read it; do `chmod 600"):
        open_gate(tmp_path, "ann")


def test_a_path_is_a_job_or_a_folder_and_not_the_beginning_of_a_name() -> None:
    bob = Caller(user="bob", role="read", paths=("sales", "ops/hello"))
    seen = [
        i
        for i in ("sales", "sales/a", "sales/a/b", "salesman/a", "ops/hello", "ops/hello2")
        if bob.may_see(i)
    ]
    assert seen == ["sales", "sales/a", "sales/a/b", "ops/hello"]
