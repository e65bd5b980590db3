"""What each route takes: one table, which the door goes by. What is not in it is for the owner alone."""

from dataclasses import dataclass
from typing import Literal

from starlette.routing import compile_path

from apsis_nb.server.callers import Role

#: What a request is about, for tokens that are held to paths: no job at all; jobs, and its route sees to it
#: that they are those of the token; or the whole server, which is not for such tokens.
About = Literal["nothing", "jobs", "server"]

API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Right:
    """What a request takes."""

    role: Role
    about: About


_LOOK, _LOOK_AT_JOBS, _LOOK_AT_ALL = Right("read", "nothing"), Right("read", "jobs"), Right("read", "server")
_RUN, _WRITE = Right("run", "jobs"), Right("write", "jobs")
_WRITE_ALL, _ADMIN = Right("write", "server"), Right("admin", "server")

#: By method and route; `WS` is a websocket. Requests take the first row that fits.
RIGHTS: dict[tuple[str, str], Right] = {
    # -- pages
    ("GET", "/"): _LOOK,
    ("GET", "/favicon.ico"): _LOOK,
    ("GET", "/logout"): _LOOK,
    ("POST", "/logout"): _LOOK,
    ("GET", "/dash"): _LOOK,
    ("GET", "/dash/"): _LOOK,
    ("GET", "/dash/{path:path}"): _LOOK_AT_ALL,
    ("WS", "/dash/{path:path}"): _LOOK_AT_ALL,
    ("GET", "/status"): _LOOK_AT_JOBS,
    ("GET", "/docs"): _LOOK,
    ("GET", "/metrics"): _LOOK_AT_ALL,
    ("POST", "/status/rerun/{run_id}"): _RUN,
    # -- the server
    ("GET", f"{API}/openapi.json"): _LOOK,
    ("GET", f"{API}/alive"): _LOOK,
    ("GET", f"{API}/version"): _LOOK,
    ("GET", f"{API}/events"): _LOOK_AT_JOBS,
    ("GET", f"{API}/stats"): _LOOK_AT_ALL,
    ("GET", f"{API}/doctor"): _LOOK_AT_ALL,
    ("POST", f"{API}/doctor"): _WRITE_ALL,
    ("POST", f"{API}/notify/test"): _WRITE_ALL,
    ("GET", f"{API}/retention"): _LOOK_AT_ALL,
    ("POST", f"{API}/retention"): _ADMIN,
    ("GET", f"{API}/backup"): _LOOK_AT_ALL,
    ("POST", f"{API}/backup"): _ADMIN,
    ("GET", f"{API}/archive"): _LOOK_AT_ALL,
    ("POST", f"{API}/archive"): _ADMIN,
    ("POST", f"{API}/archive/restore"): _ADMIN,
    ("POST", f"{API}/import/runs"): _ADMIN,
    ("GET", f"{API}/tokens"): _ADMIN,
    ("POST", f"{API}/tokens"): _ADMIN,
    ("DELETE", f"{API}/tokens/{{name}}"): _ADMIN,
    # -- jobs. To check a text takes `write`, as its route says: it can import the classes that it names.
    ("GET", f"{API}/jobs"): _LOOK_AT_JOBS,
    ("GET", f"{API}/job-ids"): _LOOK_AT_JOBS,
    ("POST", f"{API}/jobs/reload"): _WRITE_ALL,
    ("GET", f"{API}/templates"): _LOOK_AT_ALL,
    ("POST", f"{API}/jobs/check"): _LOOK_AT_JOBS,
    ("POST", f"{API}/jobs/preview"): _WRITE,
    ("GET", f"{API}/jobs/{{job_id:path}}"): _LOOK_AT_JOBS,
    ("GET", f"{API}/yaml/{{job_id:path}}"): _LOOK_AT_JOBS,
    ("PUT", f"{API}/yaml/{{job_id:path}}"): _WRITE,
    ("PATCH", f"{API}/yaml/{{job_id:path}}"): _WRITE,
    ("GET", f"{API}/versions/{{job_id:path}}"): _LOOK_AT_JOBS,
    ("GET", f"{API}/next/{{job_id:path}}"): _LOOK_AT_JOBS,
    ("GET", f"{API}/why/{{job_id:path}}"): _LOOK_AT_JOBS,
    ("GET", f"{API}/expected"): _LOOK_AT_JOBS,
    ("GET", f"{API}/expected/counts"): _LOOK_AT_JOBS,
    ("GET", f"{API}/pauses"): _LOOK_AT_JOBS,
    ("POST", f"{API}/pause"): _WRITE_ALL,
    ("POST", f"{API}/resume"): _WRITE_ALL,
    ("POST", f"{API}/pause/{{job_id:path}}"): _WRITE,
    ("POST", f"{API}/resume/{{job_id:path}}"): _WRITE,
    # -- runs
    ("GET", f"{API}/runs"): _LOOK_AT_JOBS,
    ("POST", f"{API}/runs"): _RUN,
    ("POST", f"{API}/runs/plan"): _RUN,
    ("GET", f"{API}/runs/{{run_id}}"): _LOOK_AT_JOBS,
    ("GET", f"{API}/runs/{{run_id}}/log"): _LOOK_AT_JOBS,
    ("GET", f"{API}/runs/{{run_id}}/why"): _LOOK_AT_JOBS,
    ("GET", f"{API}/runs/{{run_id}}/outputs"): _LOOK_AT_JOBS,
    ("GET", f"{API}/runs/{{run_id}}/outputs/{{name:path}}"): _LOOK_AT_JOBS,
    ("POST", f"{API}/runs/{{run_id}}/start"): _RUN,
    ("POST", f"{API}/runs/{{run_id}}/skip"): _RUN,
    ("POST", f"{API}/runs/{{run_id}}/stop"): _RUN,
    ("POST", f"{API}/runs/{{run_id}}/rerun"): _RUN,
    ("POST", f"{API}/runs/{{run_id}}/signal/{{signal}}"): _RUN,
    ("POST", f"{API}/runs/{{run_id}}/mark/{{state}}"): _RUN,
    ("GET", f"{API}/backfills"): _LOOK_AT_JOBS,
    ("GET", f"{API}/backfills/{{backfill_id}}"): _LOOK_AT_JOBS,
    ("POST", f"{API}/backfill/{{job_id:path}}"): _RUN,
    ("POST", f"{API}/backfills/{{backfill_id}}/stop"): _RUN,
    ("POST", f"{API}/backfills/{{backfill_id}}/resume"): _RUN,
    # -- history
    ("GET", f"{API}/history/{{name}}"): _LOOK_AT_JOBS,
    ("POST", f"{API}/sql"): _LOOK_AT_ALL,
}

_ROWS = [(method, compile_path(route)[0], right) for (method, route), right in RIGHTS.items()]


def right_of(method: str, path: str) -> Right | None:
    """What a request takes; None: it is to nothing that there is, as far as anybody but the owner knows.

    Args:
        method: of HTTP, or `WS`.
        path: of the request, without the query.
    """
    wanted = "GET" if method == "HEAD" else method
    return next((right for m, route, right in _ROWS if m == wanted and route.match(path)), None)
