"""How the server is, in the form that Prometheus reads."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from apsis_nb._version import __version__
from apsis_nb.core.runs import Run
from apsis_nb.core.states import FINISHED, State
from apsis_nb.engine import Engine
from apsis_nb.engine.tally import LATENESS_S
from apsis_nb.server.events import Events

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(engine: Engine, events: Events, live: list[Run]) -> bytes:
    """All of them, as text. Blocks: call it in a thread.

    Args:
        engine: started.
        events: its stream.
        live: the runs that have not finished, as of now.
    """
    registry = CollectorRegistry()
    registry.register(_Collected(engine, events, live))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, engine: Engine, events: Events, live: list[Run]) -> None:
        self._engine, self._events, self._live = engine, events, live

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._of_server()
        yield from self._of_runs()
        yield from self._of_store()

    def _of_server(self) -> Iterator[Metric]:
        engine = self._engine
        health = engine.health()
        build = GaugeMetricFamily("apsis_nb_build_info", "The server's version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        started_s = engine.started_at.timestamp()
        yield _gauge("apsis_nb_start_time_seconds", "When the server started, since 1970.", started_s)
        yield _gauge("apsis_nb_ok", "1, or 0 when the server starts nothing any more.", health["ok"])
        yield _gauge("apsis_nb_loop_lag_seconds", "How much too late the last tick was.", engine.loop_lag_s)
        failures = CounterMetricFamily(
            "apsis_nb_loop_failures", "How often a loop failed and was started again.", labels=["loop"]
        )
        for loop in health["loops"]:
            failures.add_metric([loop["name"]], loop["failures"])
        yield failures
        yield _gauge("apsis_nb_jobs", "Jobs that can be run.", health["jobs"])
        yield _gauge("apsis_nb_broken_job_files", "Job files that cannot be used.", health["broken_files"])
        yield _gauge("apsis_nb_event_listeners", "Readers of the stream of events.", self._events.count)

    def _of_runs(self) -> Iterator[Metric]:
        tally = self._engine.tally
        by_state = Counter(run.state for run in self._live)
        runs = GaugeMetricFamily("apsis_nb_runs", "Runs that have not finished, by state.", labels=["state"])
        for state in State:
            if state not in FINISHED:
                runs.add_metric([state.value], by_state[state])
        yield runs
        yield CounterMetricFamily("apsis_nb_run_starts", "Runs that were started.", value=tally.starts)
        ends = CounterMetricFamily(
            "apsis_nb_run_ends", "Runs that finished, by how they ended.", labels=["outcome"]
        )
        for state in State:
            if state in FINISHED:
                ends.add_metric([state.value], tally.ends[state])
        yield ends
        bounds = [*(str(bound) for bound in LATENESS_S), "+Inf"]
        yield HistogramMetricFamily(
            "apsis_nb_run_start_lateness_seconds",
            "How long after its time a run of a schedule was started.",
            buckets=list(zip(bounds, map(float, accumulate(tally.lateness)), strict=True)),
            sum_value=tally.lateness_sum_s,
        )

    def _of_store(self) -> Iterator[Metric]:
        engine = self._engine
        health = engine.store.health()
        yield _gauge("apsis_nb_commit_lag_seconds", "How long the last save took.", engine.commit_lag_s)
        yield CounterMetricFamily("apsis_nb_commits", "Commits of the run store.", value=health["commits"])
        yield _gauge("apsis_nb_saves_queued", "Saves that wait for their commit.", health["queued"])
        sizes = GaugeMetricFamily("apsis_nb_store_size_bytes", "Room on the disk, by part.", labels=["part"])
        sizes.add_metric(["database"], health["file_bytes"])
        sizes.add_metric(["log"], health["wal_bytes"])
        sizes.add_metric(["outputs"], engine.store.outputs_bytes())
        yield sizes
        free_b = engine.health()["disk_free_b"]
        yield _gauge("apsis_nb_disk_free_bytes", "Free room on the disk of the state folder.", free_b)


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=float(value))
