"""The test button: a message arrives, or the answer says why it did not."""

from pathlib import Path

import pytest

from tests.engine.outside import Mailbox, subject
from tests.server.conftest import serving


def test_a_test_message_arrives_or_the_answer_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings = {"notify.gone": Mailbox().url}
    with Mailbox().open() as box, serving(tmp_path, **settings, **{"notify.ops": box.url}) as served:
        with served.client(base_url=f"{served.url}/api/v1") as api:
            sent = api.post("/notify/test", json={"to": "ops"})
            gone = api.post("/notify/test", json={"to": "gone"})
            wrong = api.post("/notify/test", json={"to": box.url})
            nobody = api.post("/notify/test", json={})
        assert (sent.status_code, sent.json()) == (200, {"told": "ops"})
        assert subject(box.items[0]) == "apsis_nb: a test"
        assert gone.status_code == 409
        assert gone.json()["detail"].startswith("gone was not told: Connection error")
        assert (wrong.status_code, nobody.status_code) == (404, 422)
