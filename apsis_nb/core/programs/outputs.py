"""What is kept of what a program writes: what it prints, and files that it leaves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from apsis_nb.core.fields import Fields, KeyPath, read_bool

from .amounts import read_size
from .texts import Expand, name_reader, not_empty, or_nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How what a program prints is kept."""

    split: bool = False  #: standard output and error apart, as outputs `stdout` and `stderr`
    max_size_b: int | None = None  #: at which it is stopped, bytes; None: that of the server

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file."""
        said: dict[str, Any] = {"split": True} if self.split else {}
        return said | ({} if self.max_size_b is None else {"max_size": self.max_size_b})


#: In one piece, as it comes.
MERGED = Output()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file, or files, that are kept as outputs when the program has ended."""

    path: (
        str  #: glob pattern; absolute, or relative to where the program starts; a template until it is bound
    )
    name: str | None = None  #: of the output, for the newest match; None: each has its own. A template, too
    required: bool = False  #: without it there is no success
    min_bytes: int = 0  #: a smaller file does not count
    newer_than: Literal["start"] | None = None  #: a file that was there before the start does not count

    def bind(self, expand: Expand) -> "KeptFile":
        return replace(self, path=expand(self.path), name=None if self.name is None else expand(self.name))

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file."""
        said: dict[str, Any] = {"path": self.path}
        if self.name is not None:
            said["name"] = self.name
        if self.required:
            said["required"] = True
        if self.min_bytes:
            said["min_bytes"] = self.min_bytes
        return said | ({} if self.newer_than is None else {"newer_than": self.newer_than})


def output_from(data: Any, path: KeyPath) -> Output:
    """How output is kept, as a job file tells it."""
    fields = Fields(data, path, "'output'")
    split = fields.get("split", read_bool, False)
    max_size_b = fields.get("max_size", or_nothing(read_size), None)
    fields.done()
    return Output(split=split, max_size_b=max_size_b)


def kept_file_reader(text: Callable[[Any], str]) -> Callable[[Any, KeyPath], KeptFile]:
    """A reader of one item of `outputs`: a pattern, or a mapping."""

    def read(data: Any, path: KeyPath) -> KeptFile:
        fields = Fields(data if isinstance(data, Mapping) else {"path": data}, path, "an output")
        kept = KeptFile(
            path=fields.get("path", not_empty(text)),
            name=fields.get("name", _output_name(text), None),
            required=fields.get("required", read_bool, False),
            min_bytes=fields.get("min_bytes", _read_least, 0),
            newer_than=fields.get("newer_than", _read_newer, None),
        )
        fields.done()
        return kept

    return read


def _output_name(text: Callable[[Any], str]) -> Callable[[Any], str | None]:
    def read(value: Any) -> str | None:
        name = name_reader(text)(value)
        if name is not None and "{" not in name and ("/" in name or name in (".", "..")):
            raise ValueError(f"'{name}' can be no name of an output: leave out the folder")
        return name

    return read


def _read_least(value: Any) -> int:
    return 0 if value == 0 and value is not False else read_size(value)


def _read_newer(value: Any) -> Literal["start"] | None:
    if value not in ("start", None):
        raise ValueError("must be 'start', that of the program")
    return "start" if value else None
