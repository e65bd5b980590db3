"""Magics of IPython: `%load_ext apsis_nb`, then `%%apsis_sql` and `%%apsis_job` in cells of their own."""

import re
from typing import Any

from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import HTML, display

from apsis_nb.client import BadRequest, Client, ClientError, NoSuch
from apsis_nb.widgets.job_studio import difference_html, does_html, faults_html
from apsis_nb.widgets.shown import wrong

_NAME = re.compile(r"\$([A-Za-z_]\w*)")


@magics_class
class ApsisMagics(Magics):
    """The magics; they use the client in the variable `client`, else the server that `ap.connect()` finds."""

    @property
    def _names(self) -> dict[str, Any]:
        """The variables of the notebook."""
        names: dict[str, Any] = {} if self.shell is None else self.shell.user_ns
        return names

    def _client(self, name: str | None) -> Client:
        found = self._names.get(name or "client")
        if isinstance(found, Client):
            return found
        if name is not None:
            raise BadRequest(f"there is no client in the variable {name!r}")
        from apsis_nb.client import Client as Plain

        return Plain()

    @magic_arguments()
    @argument("--out", "-o", metavar="NAME", help="Put the DataFrame into this variable, and show nothing.")
    @argument("--client", "-c", metavar="NAME", help="The variable with the client; by default `client`.")
    @cell_magic
    def apsis_sql(self, line: str, cell: str) -> Any:
        """Ask the history of runs in SQL; the answer is a DataFrame.

        `$name` in the query is the value of the variable of that name.
        """
        args = parse_argstring(self.apsis_sql, line)
        try:
            frame = self._client(args.client).sql(cell, self._values(cell))
        except ClientError as error:
            display(HTML(wrong(str(error))))
            return None
        if args.out is None:
            return frame
        self._names[args.out] = frame
        return None

    @magic_arguments()
    @argument("job", metavar="JOB", help="The id of the job: team/report.")
    @argument("--save", "-s", action="store_true", help="Write the file, if the text has no fault.")
    @argument("--client", "-c", metavar="NAME", help="The variable with the client; by default `client`.")
    @cell_magic
    def apsis_job(self, line: str, cell: str) -> None:
        """Check the file of a job, tell when it runs and how the text differs; with --save write it."""
        args = parse_argstring(self.apsis_job, line)
        try:
            display(HTML(self._job(self._client(args.client), args.job, cell, args.save)))
        except ClientError as error:
            display(HTML(wrong(str(error))))

    def _job(self, client: Client, job_id: str, text: str, save: bool) -> str:
        told = client.check(job_id, text)
        try:
            disk, tag = client.yaml(job_id)
        except NoSuch:
            disk, tag = "", None
        shown = faults_html(told["errors"]) + does_html(told["job"], told["next"], client)
        if not told["ok"]:
            return shown + wrong("not saved" if save else "with this text there would be no such job")
        if not save:
            differs = difference_html(disk, text) if tag else ""
            return shown + differs + "<div>Not saved: <code>--save</code> does.</div>"
        if tag is not None and disk == text:
            return shown + "<div>As on disk already.</div>"
        client.write_yaml(job_id, text, tag=tag)
        return shown + "<div>Saved.</div>"

    def _values(self, query: str) -> dict[str, Any]:
        """The variables that a query names."""
        names = set(_NAME.findall(query))
        missing = sorted(names - self._names.keys())
        if missing:
            raise BadRequest(f"the query has ${missing[0]}, and there is no variable {missing[0]}")
        return {name: self._names[name] for name in names}


def load(shell: Any) -> None:
    """Add the magics to a shell."""
    shell.register_magics(ApsisMagics)
