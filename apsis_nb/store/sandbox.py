"""SQL of clients, boxed in: one SELECT over the documented views, which can change nothing and ends in time.

Three guards, as each alone has a hole. The type of the statement: a CTE may hold a DELETE and the whole is
still of type SELECT. The parsed tree: only what is known to be harmless passes. A read-only transaction: it
does not stop a COPY in a CTE, a checkpoint or a look at the settings. No files can be reached: `lock_down`.
"""

import heapq
import itertools
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from apsis_nb.store.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

#: The last word on time, in case that the timer fails; no query may ask for more.
MAX_TIME_S = 300.0
#: What one query may use of the memory; the writer needs some, too.
MEMORY_SHARE = 0.5
_BATCH_ROWS = 1 << 16
#: Queries that are known to be harmless, and how long they may be, in characters.
MOST_KNOWN, MOST_KNOWN_LENGTH = 200, 10_000

NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
TABLES = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "COLUMN_DATA"}
)
TABLE_FUNCTIONS = frozenset({"unnest", "generate_series", "range", "json_each", "json_tree"})
#: Not of the same value each time, but harmless.
CHANGING = frozenset({"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "unnest"})
#: They tell of the server, or do more than compute.
WITHHELD = frozenset({
    "current_setting", "getvariable", "getenv", "in_search_path", "txid_current", "error", "assert_true",
    "json_serialize_sql", "json_deserialize_sql", "json_serialize_plan", "get_block_size", "col_description",
    "obj_description", "shobj_description", "parse_duckdb_log_message", "format_pg_type", "map_to_pg_oid",
})  # fmt: skip
WITHHELD_PREFIXES = ("__internal", "pg_", "current_", "has_", "inet_", "st_", "variant_")
WANTED = frozenset(
    {"current_date", "current_localtime", "current_localtimestamp", "pg_typeof", "pg_size_pretty"}
)
#: With them DuckDB gives a zone to each time of a column: 0.7 s on 10 million runs, against 7 ms.
SLOW_CLOCKS = frozenset({"now", "transaction_timestamp"})
HINT = "utc_now() is the time as the columns have it; next to them it is many times quicker than now()"


class Rules:
    """What a query may name.

    Args:
        cursor: to ask the database which views and functions there are.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        views = cursor.execute(
            "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
        )
        self.views = frozenset(name.lower() for (name,) in views.fetchall())
        names = cursor.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions()"
            " WHERE function_type IN ('scalar', 'aggregate', 'window', 'macro')"
            " AND coalesce(stability, '') <> 'VOLATILE'"
        )
        self.functions = CHANGING | {
            name
            for (name,) in names.fetchall()
            if name in WANTED or (name not in WITHHELD and not name.startswith(WITHHELD_PREFIXES))
        }

        #: Of queries that passed, what they call: pages ask the same again and again.
        self._passed: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, cursor: duckdb.DuckDBPyConnection, query: str) -> frozenset[str]:
        """Refuse a query that is more than a harmless SELECT.

        Returns:
            The functions that it calls, in lower case.

        Raises:
            QueryError: it is, or it cannot be parsed; the text says what is not allowed.
        """
        with self._lock:
            known = self._passed.pop(query, None)
            if known is not None:
                self._passed[query] = known
                return known
        used = self._examine(cursor, query)
        if len(query) <= MOST_KNOWN_LENGTH:
            with self._lock:
                self._passed[query] = used
                while len(self._passed) > MOST_KNOWN:
                    self._passed.popitem(last=False)
        return used

    def _examine(self, cursor: duckdb.DuckDBPyConnection, query: str) -> frozenset[str]:
        try:
            statements = cursor.extract_statements(query)
        except duckdb.Error as e:
            raise QueryError(str(e)) from None
        if len(statements) != 1:
            raise QueryError(f"only one statement may be asked at a time, not {len(statements)}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(f"only a SELECT may be asked, not {statements[0].type.name}")
        text = cursor.execute("SELECT json_serialize_sql($1::VARCHAR)", [query]).fetchall()[0][0]
        try:
            tree = json.loads(text)
            if tree["error"]:
                raise QueryError(f"only a plain SELECT may be asked: {tree['error_message']}")
            used: set[str] = set()
            self._visit(tree["statements"][0]["node"], frozenset(), used)
            return frozenset(used)
        except RecursionError:
            raise QueryError("the query is nested too deeply") from None

    def _visit(self, part: Any, ctes: frozenset[str], used: set[str]) -> None:
        """Look at a part of the tree.

        Args:
            ctes: the names that are known there, in lower case.
            used: gets the functions that it calls.
        """
        if isinstance(part, list):
            for item in part:
                self._visit(item, ctes, used)
            return
        if not isinstance(part, dict):
            return
        kind = part.get("type")
        if "cte_map" in part or (isinstance(kind, str) and kind.endswith("_NODE")):
            if kind not in NODES:
                raise QueryError(f"only a SELECT may be asked, not {_words(kind)}")
            ctes = self._visit_ctes(part, ctes, used)
        elif "sample" in part or kind == "SHOW_REF":  # what stands in FROM
            if kind not in TABLES:
                raise QueryError(f"{_words(kind)} is not allowed in FROM")
            if kind == "BASE_TABLE":
                self._check_table(part, ctes)
            elif kind == "TABLE_FUNCTION":
                name = part["function"]["function_name"].lower()
                if name not in TABLE_FUNCTIONS:
                    raise QueryError(f"the function {name} is not allowed in FROM")
                self._visit(part["function"]["arguments"], ctes, used)
                return
        elif "function_name" in part:
            name = part["function_name"].lower()
            if name not in self.functions:
                raise QueryError(f"the function {name} is not allowed, or there is none")
            used.add(name)
        for key, value in part.items():
            if key != "cte_map":
                self._visit(value, ctes, used)

    def _visit_ctes(self, node: dict[str, Any], ctes: frozenset[str], used: set[str]) -> frozenset[str]:
        """Look at the CTEs of a node, each of which knows those before it; gives all names that it knows."""
        if node["type"] == "RECURSIVE_CTE_NODE":
            ctes |= {node["cte_name"].lower()}
        for entry in node["cte_map"]["map"]:
            query, name = entry["value"].get("query_node"), entry["key"].lower()
            if not isinstance(query, dict):
                raise QueryError("only a SELECT may be asked in WITH")
            self._visit(query, ctes, used)
            self._visit({k: v for k, v in entry["value"].items() if k != "query_node"}, ctes, used)
            ctes |= {name}
        return ctes

    def _check_table(self, table: dict[str, Any], ctes: frozenset[str]) -> None:
        path = [name.lower() for name in table["qualified_name"]["path"]]
        if len(path) == 1 and path[0] in ctes:
            return
        if path[-1] not in self.views or path[:-1] not in ([], ["main"]):
            views = ", ".join(sorted(self.views))
            raise QueryError(f"there is no view {'.'.join(path)}; there are {views}")


def _words(kind: object) -> str:
    """A kind of the tree in the words of SQL: DELETE_QUERY_NODE is DELETE."""
    return str(kind).removesuffix("_NODE").removesuffix("_QUERY").removesuffix("_REF").replace("_", " ")


class Alarms:
    """Calls what is to be called later, on one thread: to start one for each query takes longer than many."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[
            tuple[float, int, list[Callable[[], None]]]
        ] = []  # a list is empty once it is cancelled
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call it after so many seconds, on another thread; gives what prevents it, unless it has begun."""
        pending = [call]
        entry = (time.monotonic() + delay_s, next(self._numbers), pending)
        with self._changed:
            heapq.heappush(self._heap, entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="apsis-nb-alarms", daemon=True)
                self._thread.start()
            if self._heap[0] is entry:
                self._changed.notify()
        return pending.clear

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._heap and not self._heap[0][2]:  # all of these, lest each wakes us
                    heapq.heappop(self._heap)
                wait_s = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                calls = heapq.heappop(self._heap)[2].copy()
            for call in calls:
                call()


_ALARMS = Alarms()


def run_boxed(
    cursor: duckdb.DuckDBPyConnection,
    query: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
    *,
    timeout_s: float,
    max_rows: int | None,
    started: Callable[[Callable[[], None]], object] | None = None,
) -> "pa.Table":
    """The answer of a query that `Rules.check` let pass.

    Args:
        cursor: with limits of its own.
        timeout_s: after which it is stopped.
        max_rows: the rest is not even read.
        started: is given a function that stops the query, from any thread, while it runs.

    Raises:
        QueryError: it is wrong, too slow, too big or was stopped.
    """
    import pyarrow as pa

    asked_to_stop = threading.Event()
    lock, is_running = threading.Lock(), True

    def interrupt() -> None:
        with lock:  # never the next query on this cursor
            if is_running:
                cursor.interrupt()

    def stop() -> None:
        asked_to_stop.set()
        interrupt()

    cursor.execute("BEGIN TRANSACTION READ ONLY")
    cancel = _ALARMS.call_later(min(timeout_s, MAX_TIME_S), interrupt)
    try:
        if started is not None:
            started(stop)
        given = dict(params) if isinstance(params, Mapping) else list(params) if params else None
        relation = cursor.sql(query, params=given)
        with relation.to_arrow_reader(_BATCH_ROWS) as reader:
            batches, rows = [], 0
            for batch in reader:
                batches.append(batch)
                rows += batch.num_rows
                if max_rows is not None and rows >= max_rows:
                    break
            return pa.Table.from_batches(batches, reader.schema).slice(0, max_rows)
    except (duckdb.InterruptException, pa.ArrowException, OSError) as e:
        if asked_to_stop.is_set():
            raise QueryError("the query was stopped") from None
        if "INTERRUPT" in str(e).upper():
            raise QueryError(f"the query ran longer than {timeout_s:g} s and was stopped") from None
        raise QueryError(str(e)) from e
    except duckdb.OutOfMemoryException:
        raise QueryError("the query needs more memory than it may use") from None
    except duckdb.Error as e:
        raise QueryError(str(e)) from None
    finally:
        cancel()
        with lock:
            is_running = False
        cursor.execute("ROLLBACK")
