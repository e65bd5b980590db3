"""Which params of a job become a part of its code: whoever chooses their args could have it do anything."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .jobs import Job
from .programs import Notebook, Process, PythonCall, SqlQuery
from .templates import names_in, unquoted_names

#: Programs that read one of their arguments as a command.
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "ssh", "eval"})


@dataclass(frozen=True, slots=True)
class Pasted:
    """A place where an arg becomes code."""

    param: str
    place: str  #: in words
    remedy: str  #: what to write in the job file instead


def pasted(job: Job, args: Iterable[str]) -> Pasted | None:
    """The first of some args that becomes a part of the job's code as it is; None: none does.

    Only text of any kind can: a number, a date or one of some choices is no command.

    Args:
        job: the job.
        args: names of params.
    """
    free = {p.name: p.variable for p in job.params if p.type == "str" and not p.choices}
    wanted = [name for name in args if name in free]
    if not wanted or not isinstance(job.program, Process):
        return None
    for place, names, remedy in _places(job.program, free):
        for name in wanted:
            if name in names:
                return Pasted(name, place, remedy.format(quoted=f"{{{{ {name} | quote }}}}", var=free[name]))
    return None


def _places(program: Process, free: Mapping[str, str]) -> Iterator[tuple[str, set[str], str]]:
    """Where a program has code or chooses it, the names that come there as they are, and the remedy."""
    quote = 'write {quoted}, outside of any quotes, or "${var}"'
    choices = "give the param choices"
    for text in _commands(program):
        yield "its shell command", unquoted_names(text, free), quote
    match program.task:
        case SqlQuery(query=query):
            yield "its query", names_in(query), "write $NAME for the arg of that name"
        case PythonCall(call=call, python=python):
            yield "the name of its function", names_in(call), choices
            yield "the name of its interpreter", names_in(python or ""), choices
        case Notebook(path=path, kernel=kernel, python=python):
            yield "the path of its notebook", names_in(path), choices
            yield "the name of its kernel", names_in(kernel or ""), choices
            yield "the name of its interpreter", names_in(python or ""), choices
        case _:
            pass
    if program.argv:
        yield "the name of its program", names_in(program.argv[0]), choices
    yield "the name of its account", names_in(program.user or ""), choices
    yield "the name of its env_file", names_in(program.env_file or ""), choices


def _commands(program: Process) -> Iterator[str]:
    """The texts that a shell reads."""
    if program.command is not None:
        yield program.command
    for n, word in enumerate(program.argv):
        if word.rpartition("/")[2] in _SHELLS:
            yield from program.argv[n + 1 :]
            return
