"""Templates of job files: ours, and those that a job folder has in `_templates`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from apsis_nb.core.errors import ApsisError

#: Each template is a file of this folder, or a folder of several jobs; other files go beside the job.
_FOLDER = Path(__file__).with_name("templates")
#: In a job folder, the same of its own; with this ending, for they are Jinja.
_OWN, _JINJA = "_templates", ".yaml.j2"


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """A template, of one job or of several."""

    name: str
    description: str
    #: what each file is called after the id of the job, and its text
    files: Mapping[str, str]
    folder: Path | None = None  #: of one of a job folder

    @property
    def has_parts(self) -> bool:
        """Whether it makes several jobs below the id."""
        return all(name.startswith("/") for name in self.files)

    def filled(
        self, job_id: str, zone: str, said: Mapping[str, str], *, is_draft: bool = False
    ) -> tuple[dict[str, str], set[str]]:
        """The texts of its files for a job.

        Args:
            job_id: of the job.
            zone: the name of the zone that schedules are to be in.
            said: values for what a template of a job folder leaves open.
            is_draft: what nobody said stays as it is in the template.

        Returns:
            The texts, by what each file is called after the id; and which of `said` were taken.

        Raises:
            ApsisError: it is wrong, or leaves something open that nobody said.
        """
        name = PurePosixPath(job_id).name
        known = {"job": job_id, "name": name, "module": re.sub(r"\W", "_", name), "zone": zone}
        if self.folder is not None:
            return self._rendered(known, said, is_draft=is_draft)
        texts = {f"@{key.upper()}@": value for key, value in known.items()}
        pattern = "|".join(texts)
        return {f: re.sub(pattern, lambda match: texts[match[0]], t) for f, t in self.files.items()}, set()

    def _rendered(
        self, known: Mapping[str, str], said: Mapping[str, str], *, is_draft: bool
    ) -> tuple[dict[str, str], set[str]]:
        from jinja2 import DebugUndefined, StrictUndefined, TemplateError, TemplateSyntaxError, meta
        from jinja2.sandbox import SandboxedEnvironment

        undefined = DebugUndefined if is_draft else StrictUndefined
        jinja = SandboxedEnvironment(undefined=undefined, keep_trailing_newline=True)
        made, used, file = {}, set(), ""
        try:
            for name, text in self.files.items():
                file = f"{self.folder}/{self.name}{name}.j2"
                open_ = meta.find_undeclared_variables(jinja.parse(text)) - known.keys()
                if not is_draft and (missing := sorted(open_ - said.keys())):
                    raise ApsisError(f"{file}: it leaves {', '.join(missing)} open: --set {missing[0]}=VALUE")
                used |= open_
                made[name] = jinja.from_string(text).render({**said, **known})
        except TemplateSyntaxError as error:
            raise ApsisError(f"{file}:{error.lineno}: {error.message}") from None
        except TemplateError as error:
            raise ApsisError(f"{file}: {error}") from None
        return made, used


def job_templates(folder: Path) -> dict[str, JobTemplate]:
    """All templates, by name; those of a job folder go before ours.

    Raises:
        ApsisError: one of the folder is no text.
    """
    names = {path.name.partition(".")[0] for path in _FOLDER.iterdir() if path.name[0] not in "._"}
    found = {name: _read(name) for name in names} | {t.name: t for t in _own_templates(folder / _OWN)}
    return dict(sorted(found.items()))


def _own_templates(folder: Path) -> Iterator[JobTemplate]:
    """The templates of a job folder: `NAME.yaml.j2`, or a folder of them for several jobs."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir():
            parts = sorted(path.glob(f"*{_JINJA}"))
            files = {f"/{part.name.removesuffix('.j2')}": _text_of(part) for part in parts}
        else:
            files = {".yaml": _text_of(path)} if path.name.endswith(_JINJA) else {}
        if files:
            first = next(iter(files.values())).partition("\n")[0]
            said = first.strip("{}# ") if first.startswith(("#", "{#")) else ""
            yield JobTemplate(path.name.removesuffix(_JINJA), said, files, folder)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ApsisError(f"{file}: is not UTF-8 text") from None


def _read(name: str) -> JobTemplate:
    files = {path.name.removeprefix(name): path.read_text() for path in sorted(_FOLDER.glob(f"{name}.*"))}
    parts = sorted((_FOLDER / name).glob("*.yaml"))
    files |= {f"/{path.name}": path.read_text() for path in parts}
    first = next(text for file, text in files.items() if file.endswith(".yaml"))
    return JobTemplate(name, first.partition("\n")[0].lstrip("# "), files)
