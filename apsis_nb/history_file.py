"""Run stores read without a server: files answer what the client asks about runs that have finished."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from apsis_nb.client import BadRequest, ClientError, Connection, NoSuch, RequestRefused, ServerEvent
from apsis_nb.config import find_servers, server_of, system_zone
from apsis_nb.core.errors import NotFound
from apsis_nb.core.times import format_time, zone
from apsis_nb.store import ArchiveFiles, FileQuestions, StoreError, StoreFile, StoreInUse, is_archive
from apsis_nb.wire import RUN_DETAILS, facts_of_row, table_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import httpx2
    import pyarrow as pa

#: By which the rows of several files are put in order; the others stay file by file.
_NEWEST_FIRST = {"runs": "scheduled_at", "missed": "nominal_at"}
_FLAGS = {"true": True, "false": False}


class CannotOpen(ClientError):
    """A file cannot be read: it is not there, a server holds it, or it is no run store."""


class FileConnection(Connection):
    """Answers what a server would answer from its store alone.

    Args:
        paths: of the files, or of the state folders of servers, or of archives or months of one. Of several
            each answers by itself, and a column `source` says which.

    Raises:
        CannotOpen: one of them cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files: dict[str, FileQuestions] = {}
        try:
            for path in dict.fromkeys(paths):
                self._files[str(path)] = _opened(path)
        except BaseException:
            self.close()
            raise
        self.url = ", ".join(self._files)

    def close(self) -> None:
        """Let the files go."""
        for file in self._files.values():
            file.close()

    @property
    def is_local(self) -> bool:
        """Paths mean the same to it."""
        return True

    @cached_property
    def zone(self) -> "ZoneInfo":
        """That of this machine, in which a time without one is read."""
        return zone(system_zone())

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        may_last: bool = False,
    ) -> dict[str, Any]:
        """The JSON object of an answer."""
        match [method, *path.strip("/").split("/", 3)]:
            case ["GET", "runs"]:
                return self._page(params or {})
            case ["GET", "runs", name]:
                return self._facts(name)
            case ["GET", "runs", name, "log"]:
                self._facts(name)
                lines = self._file_of(name).log(_number(name))
                return {"log": [{**line, "ts": format_time(line["ts"])} for line in lines]}
            case ["GET", "runs", name, "outputs"]:
                return self._outputs(name)
        raise self._needs_server()

    def arrow(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        each: "Callable[[pa.RecordBatch], pa.RecordBatch] | None" = None,
    ) -> "pa.Table":
        """The Arrow table of an answer."""
        table = self._table(method, path, params, body)
        return table if each is None else table_of(table.to_reader(), each)

    def _table(self, method: str, path: str, params: Mapping[str, Any] | None, body: Any) -> "pa.Table":
        try:
            match [method, *path.strip("/").split("/")]:
                case ["GET", "history", name]:
                    asked = _values(params or {})
                    tables = {source: file.arrow(name, **asked) for source, file in self._files.items()}
                    return _together(tables, _NEWEST_FIRST.get(name), asked.get("limit"))
                case ["POST", "sql"]:
                    query = body["query"], body["params"]
                    return _together({source: file.sql(*query) for source, file in self._files.items()})
        except StoreError as error:
            raise BadRequest(str(error), status=422) from None
        raise self._needs_server()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        accept: str = "*/*",
        may_last: bool = False,
    ) -> "httpx2.Response":
        """The answer to a request for an output; no other comes here that needs no server."""
        import httpx2

        match [method, *path.strip("/").split("/", 3)]:
            case ["GET", "runs", name, "outputs", output]:
                given = params or {}
                try:
                    piece, size = self._file_of(name).read_output(
                        _number(name), unquote(output), given.get("offset", 0), given.get("limit", 1 << 62)
                    )
                except NotFound as error:
                    raise NoSuch(str(error)) from None
                except StoreError as error:
                    raise BadRequest(str(error)) from None
                told = {"X-Apsis-Size": str(size), "X-Apsis-Finished": "true"}
                return httpx2.Response(200, headers=told, content=piece)
        raise self._needs_server()

    def lines(self, method: str, path: str, *, body: Any = None) -> Generator[dict[str, Any], None, None]:
        """No such answer comes from a file."""
        raise self._needs_server()

    def events(
        self, types: Iterable[str] = (), *, reconnect: bool = True
    ) -> Generator[ServerEvent, None, None]:
        """Nothing happens in a file."""
        raise self._needs_server()

    def _needs_server(self) -> RequestRefused:
        return RequestRefused(f"that needs a server, and this is a file: {self.url}")

    def _file_of(self, name: str) -> FileQuestions:
        """The file that has the run.

        Raises:
            NoSuch, BadRequest: none has it, or several have.
        """
        having = [source for source, file in self._files.items() if file.run(_number(name)) is not None]
        if not having:
            raise NoSuch(f"there is no run {name} in {self.url}, or it had not finished")
        if len(having) > 1:
            raise BadRequest(f"several files have a run {name} ({', '.join(having)}): open one by itself")
        return self._files[having[0]]

    def _facts(self, name: str) -> dict[str, Any]:
        return facts_of_row(self._file_of(name).run(_number(name)) or {})

    def _outputs(self, name: str) -> dict[str, Any]:
        file, number = self._file_of(name), _number(name)
        dropped = file.dropped(number)
        if dropped is not None:
            dropped["at"] = format_time(dropped["at"])
        return {"outputs": file.outputs(number), "dropped": dropped}

    def _page(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A page of the listing: the newest of all files, from where the last page ended."""
        asked = _values(params)
        limit, cursor = asked.pop("limit"), asked.pop("cursor", None)
        at, number, last = cursor.split(" ") if cursor else (None, 0, 0)
        rows = []
        for n, file in enumerate(self._files.values()):
            before = None
            if at is not None:  # of runs with the same time and id those of the first files come first
                before = datetime.fromisoformat(at), int(number) + (n > int(last))
            rows += [
                (row["scheduled_at"], row["run_id"], -n, row)
                for row in file.runs(**asked, limit=limit + 1, before=before)
            ]
        rows.sort(key=itemgetter(0, 1, 2), reverse=True)
        found = [facts_of_row(row) for *_, row in rows[:limit]]
        for facts in found:
            for name in RUN_DETAILS:
                del facts[name]
        if len(self._files) > 1:
            sources = list(self._files)
            found = [f | {"source": sources[-n]} for f, (_, _, n, _) in zip(found, rows, strict=False)]
        more = None
        if len(rows) > limit:
            at, number, n, _ = rows[limit - 1]
            more = f"{format_time(at)} {number} {-n}"
        return {"runs": found, "next": more}


def _opened(path: Path) -> FileQuestions:
    """The file at a path, or that of the state folder there, or the archive."""
    file = path / "runs.duckdb" if path.is_dir() else path
    try:
        if path.is_dir() and not file.exists() and is_archive(path):
            return ArchiveFiles(path)
        return StoreFile(file)
    except StoreInUse as error:
        folder = file.resolve().parent
        for server in (server_of(folder), *find_servers()):
            if server is not None and Path(server.state_dir).resolve() == folder:
                ask = f"ask that, with ap.connect({server.url!r})"
                raise CannotOpen(f"{file} is in use by the server at {server.url}: {ask}") from None
        raise CannotOpen(f"{error}: ask that, if it is a server, with ap.connect(...)") from None
    except (StoreError, OSError) as error:
        raise CannotOpen(str(error)) from None


def _number(name: str) -> int:
    return int(name.removeprefix("r"))


def _values(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request as the store wants them; None is left out."""
    values = {name: value for name, value in params.items() if value is not None}
    args = {name.removeprefix("arg."): values.pop(name) for name in list(values) if name.startswith("arg.")}
    for name in ("since", "until"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name]).astimezone(UTC)
    if "late" in values:
        values["late"] = _FLAGS[values["late"]]
    return values | ({"args": args} if args else {})


def _together(
    tables: "Mapping[str, pa.Table]", newest: str | None = None, limit: int | None = None
) -> "pa.Table":
    """One table of the answers of several files, with a column `source`; of one file as it is.

    Args:
        newest: the column of times by which the rows are sorted.
        limit: at most so many rows.
    """
    import pyarrow as pa

    if len(tables) == 1:
        return next(iter(tables.values()))
    whole = pa.concat_tables(
        table.append_column("source", pa.array([source] * table.num_rows, pa.string()))
        for source, table in tables.items()
    )
    if newest is not None:
        whole = whole.sort_by([(newest, "descending"), ("run_id", "descending"), ("source", "ascending")])
    return whole.slice(0, limit)
