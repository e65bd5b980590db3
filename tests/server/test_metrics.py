"""What Prometheus reads: counted from what really happened, and in the form that it wants."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.server.api_page import PAGE
from tests.server.conftest import Served, serving, until, write_jobs

OFTEN = "schedule: {type: interval, interval: 1s, max_runs: 5}\nprogram: {type: no-op}\n"
EXPECTED = {
    "apsis_nb_build_info": "gauge",
    "apsis_nb_start_time_seconds": "gauge",
    "apsis_nb_ok": "gauge",
    "apsis_nb_loop_lag_seconds": "gauge",
    "apsis_nb_loop_failures": "counter",
    "apsis_nb_jobs": "gauge",
    "apsis_nb_broken_job_files": "gauge",
    "apsis_nb_event_listeners": "gauge",
    "apsis_nb_runs": "gauge",
    "apsis_nb_run_starts": "counter",
    "apsis_nb_run_ends": "counter",
    "apsis_nb_run_start_lateness_seconds": "histogram",
    "apsis_nb_commit_lag_seconds": "gauge",
    "apsis_nb_commits": "counter",
    "apsis_nb_saves_queued": "gauge",
    "apsis_nb_store_size_bytes": "gauge",
    "apsis_nb_disk_free_bytes": "gauge",
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(served: Served) -> tuple[dict[str, str], Samples]:
    """The kinds of the metrics by name, and the samples by name and labels."""
    answer = httpx2.get(f"{served.url}/metrics", headers=served.bearer, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    samples = {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}
    return {family.name: family.type for family in families}, samples


def one(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_all_metrics_are_there_with_their_kinds(served: Served) -> None:
    assert read(served)[0] == EXPECTED


def test_starts_and_ends_are_counted_as_they_happen_and_a_mark_is_none(
    served: Served, api: httpx2.Client, finished: Callable[[str], dict[str, Any]]
) -> None:
    _, before = read(served)
    ids = [
        api.post("/runs", json={"job_id": job}).json()["runs"][0]["run_id"]
        for job in ("ops/hello", "ops/fails")
    ]
    for run_id in ids:
        finished(run_id)
    api.post(f"/runs/{ids[1]}/mark/success").raise_for_status()
    _, after = read(served)

    def grew(name: str, **labels: str) -> float:
        return one(after, name, **labels) - one(before, name, **labels)

    assert grew("apsis_nb_run_starts_total") == 2
    assert grew("apsis_nb_run_ends_total", outcome="success") == 1
    assert grew("apsis_nb_run_ends_total", outcome="failure") == 1
    assert grew("apsis_nb_run_start_lateness_seconds_count") == 0  # these were of no schedule


def test_lateness_is_that_of_runs_of_schedules(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs", {"often": OFTEN})
    with serving(tmp_path) as served:

        def some() -> Samples | None:
            _, samples = read(served)
            return samples if one(samples, "apsis_nb_run_start_lateness_seconds_count") >= 2 else None

        samples = until("two have started", some)

    count = one(samples, "apsis_nb_run_start_lateness_seconds_count")
    assert one(samples, "apsis_nb_run_start_lateness_seconds_bucket", le="+Inf") == count
    bounds = {dict(labels)["le"]: v for (name, labels), v in samples.items() if name.endswith("_bucket")}
    values = [bounds[bound] for bound in sorted(bounds, key=float)]
    assert values == sorted(values)
    assert one(samples, "apsis_nb_run_start_lateness_seconds_sum") >= 0
    assert one(samples, "apsis_nb_run_starts_total") >= count


def test_who_shows_no_token_is_refused_and_not_sent_to_a_page(served: Served) -> None:
    answer = httpx2.get(f"{served.url}/metrics", trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_page_of_the_interface_names_each_metric() -> None:
    page = PAGE.read_text()

    for name, kind in EXPECTED.items():
        assert f"`{name}{'_total' if kind == 'counter' else ''}`" in page
