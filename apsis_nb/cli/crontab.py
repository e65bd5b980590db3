"""Reads a crontab as cron does, and makes a job of each of its entries."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from apsis_nb.cli.new_jobs import NotTaken, What
from apsis_nb.core.schedules.cron import check_cron
from apsis_nb.core.times import zone
from apsis_nb.programs.environment import Account

#: A line as `NAME = value`, as crontab(5) has it; the name may stand in quotes.
_VARIABLE = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([A-Za-z_][A-Za-z0-9_]*))\s*=\s*(.*?)\s*""")
#: Variables that tell cron something, and no program.
_FOR_CRON = frozenset(
    {"MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING", "CRON_TZ", "RANDOM_DELAY", "LOGNAME"}
)
#: Shells that know `<<` and braces as sh does.
_LIKE_SH = frozenset({"sh", "bash", "dash", "ksh", "mksh", "zsh", "ash"})
#: Words of a command that say little about what it does.
_WRAPPERS = frozenset(
    {
        "[",
        "bash",
        "cd",
        "chronic",
        "command",
        "dash",
        "env",
        "exec",
        "flock",
        "ionice",
        "nice",
        "node",
        "nohup",
    }
    | {"perl", "php", "python", "python3", "root", "ruby", "Rscript", "setsid", "sh", "sudo", "test", "time"}
    | {"timeout", "true"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of a line of a crontab that says something."""

    number: int  #: from 1
    text: str
    what: What | Literal["variable"]
    job_id: str | None = None
    job: Mapping[str, Any] | None = None  #: the job file's content; None: there is none to be written
    notes: tuple[str, ...] = ()  #: what is other than under cron, or why it was left


@dataclass(slots=True)
class Reader:
    """Reads a crontab from top to bottom: a variable counts for the entries after it.

    Args:
        tz: the zone of its times, unless `CRON_TZ` names another.
        has_user: whether each entry names an account before its command, as in /etc/crontab.
        folder: of the jobs: the first part of their ids.
        known: how often each entry was imported before.
        taken: ids of jobs that there are.
        is_enabled: whether the schedules are on.
    """

    tz: str
    has_user: bool
    folder: str
    known: Counter[str]
    taken: Collection[str]
    is_enabled: bool = False
    _variables: dict[str, str] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)

    def read(self, text: str) -> Iterator[Line]:
        """Each line but those that are blank or a comment."""
        description = ""
        for number, line in enumerate(text.splitlines(), 1):
            words = line.strip()
            if not words or words.startswith("#"):
                description = words.lstrip("# ") if words else ""
                continue
            variable = _VARIABLE.fullmatch(words)
            if variable is not None:
                yield Line(number=number, text=line, what="variable", notes=self._set(variable))
                continue
            yield self._entry(number, line, description)
            description = ""

    def _set(self, variable: re.Match[str]) -> tuple[str, ...]:
        name, value = variable[1] or variable[2] or variable[3], variable[4]
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        self._variables[name] = value
        if name == "MAILTO" and value:
            return ("for mail give the server's configuration `notify`, and the jobs an `action`",)
        return ()

    def _entry(self, number: int, line: str, description: str) -> Line:
        """An entry as a job, or why it is left to cron."""
        words = line.strip()
        if self.known[words]:
            self.known[words] -= 1
            return Line(number=number, text=line, what="there already", notes=("its file is left as it is",))
        try:
            job, stem, notes = self._job(words, description)
        except NotTaken as error:
            return Line(number=number, text=line, what="left", notes=(str(error),))
        job_id = self._new_id(stem)
        return Line(number=number, text=line, what="job", job_id=job_id, job=job, notes=tuple(notes))

    def _job(self, words: str, description: str) -> tuple[dict[str, Any], str, list[str]]:
        """The content of the job file, what the command is called, and what is other than under cron.

        Raises:
            NotTaken: there can be no such job.
        """
        cron, rest = _times_of(words)
        account, notes = Account.own(), []
        program: dict[str, Any] = {"type": "shell"}
        if self.has_user:
            name, rest = (*rest.split(None, 1), "", "")[:2]
            try:
                account = Account.named(name)
            except ValueError as error:
                raise NotTaken(str(error)) from None
            if account.uid != os.geteuid():
                program["user"] = name
        if not rest:
            raise NotTaken("it has no command")
        command, given = _split_input(rest)
        shell = self._variables.get("SHELL", "/bin/sh")
        if given is not None and os.path.basename(shell) not in _LIKE_SH:
            raise NotTaken(f"it gives its command an input (%), which needs a shell like sh, not {shell}")
        program["command"] = no_template(_with_input(command, given)) + "\n"
        program["shell"] = shell
        program["cwd"] = no_template(self._variables.get("HOME", account.home))
        schedule: dict[str, Any] = {"type": "cron", "cron": cron, "tz": self._zone()}
        delay = self._variables.get("RANDOM_DELAY") or "0"
        if not delay.isdecimal():
            raise NotTaken(f"RANDOM_DELAY is no number of minutes: {delay!r}")
        if int(delay):
            schedule["jitter"] = f"{int(delay)}m"
        schedule["misfire"] = "none"  # cron makes up for nothing
        if not self.is_enabled:
            schedule["enabled"] = False
        job: dict[str, Any] = {"metadata": {"description": description} if description else {}}
        job["metadata"]["crontab"] = words
        if mail := self._variables.get("MAILTO", ""):
            job["metadata"]["mailto"] = mail
            notes.append(f"cron mailed what it wrote to {mail}: nobody is told here")
        job |= {"schedule": schedule, "program": program}
        env = {name: value for name, value in self._variables.items() if name not in _FOR_CRON}
        if env:
            job["env"] = {name: no_template(value) for name, value in env.items()}
        return job, _name_of(command), notes

    def _zone(self) -> str:
        name = self._variables.get("CRON_TZ") or self.tz
        try:
            return zone(name).key
        except ValueError as error:
            raise NotTaken(f"CRON_TZ: {error}") from None

    def _new_id(self, stem: str) -> str:
        """An id that no job has."""
        name, n = f"{self.folder}/{stem}", 1
        while name in self.taken or name in self._named:
            n += 1
            name = f"{self.folder}/{stem}-{n}"
        self._named.add(name)
        return name


def without(text: str, lines: Collection[Line]) -> str:
    """The crontab with those of its lines that are jobs now as comments."""
    done = {line.number: line.job_id for line in lines if line.what == "job"}
    made = [
        f"# now the job {done[number]}: {line}" if number in done else line
        for number, line in enumerate(text.splitlines(), 1)
    ]
    return "".join(f"{line}\n" for line in made)


def _times_of(words: str) -> tuple[str, str]:
    """The times of an entry and what follows them."""
    is_named = words.startswith("@")
    parts = words.split(None, 1 if is_named else 5)
    fields, rest = (parts[:1], parts[1:]) if is_named else (parts[:5], parts[5:])
    if fields == ["@reboot"]:
        raise NotTaken("no schedule knows a reboot: cron or systemd goes on to start it")
    cron = " ".join(fields)
    try:
        check_cron(cron)
    except ValueError as error:
        raise NotTaken(str(error)) from None
    return cron, rest[0] if rest else ""


def _split_input(text: str) -> tuple[str, str | None]:
    """The command, and what it reads: all after the first % that has no backslash, where % is a new line."""
    parts = [part.replace("\\%", "%") for part in re.split(r"(?<!\\)%", text)]
    return parts[0].strip(), "\n".join(parts[1:]) if len(parts) > 1 else None


def _with_input(command: str, given: str | None) -> str:
    """The command with its input in a here-document."""
    if given is None:
        return command
    end = "END"
    while end in given.split("\n"):
        end += "_"
    return f"{{ {command}\n}} <<'{end}'\n{given}\n{end}"


def no_template(text: str) -> str:
    """A text of which templates leave all as it is."""
    if not re.search(r"\{[{%#]", text):
        return text
    if "endraw" in text:
        raise NotTaken("its text has {% endraw %}, which is a template here")
    return f"{{% raw %}}{text}{{% endraw %}}"


def _name_of(command: str) -> str:
    """What a command is called: the first script in it, or its program."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = command.split()
    plain = [os.path.basename(word) for word in words if "=" not in word and not word.startswith(("-", "{"))]
    scripts = [word for word in plain if re.fullmatch(r"[\w.-]+\.(sh|py|pl|rb|php|js|R|ipynb)", word)]
    programs = [word for word in plain if re.search(r"[A-Za-z]", word) and word not in _WRAPPERS]
    first = scripts[0].rpartition(".")[0] if scripts else (programs or ["job"])[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", first).strip("-_") or "job"
