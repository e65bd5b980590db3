"""What fails is gathered for a page: the last run, and how many there were."""

from apsis_nb.client import ServerEvent
from apsis_nb.views.failures import Failures


class Doc:
    """Keeps what a document is asked to call."""

    def __init__(self):
        self.calls = []

    def add_next_tick_callback(self, call):
        self.calls.append(call)

    def add_timeout_callback(self, call, milliseconds):
        self.calls.append(call)


def test_a_storm_is_told_once_and_what_is_no_failure_never():
    doc, told = Doc(), []
    failures = Failures(doc, told.append)
    for facts in ({"state": "success"}, {"state": "failure", "origin": "test"}):
        failures.hear(ServerEvent("run", {"run_id": "r1", **facts}))
    assert doc.calls == []

    for n in range(1000):
        failures.hear(
            ServerEvent("run", {"run_id": f"r{n}", "job_id": "a", "state": "error", "message": None})
        )
    while doc.calls:
        doc.calls.pop(0)()
    assert told == [{"run_id": "r999", "job_id": "a", "state": "error", "message": "", "count": 1000, "n": 1}]
