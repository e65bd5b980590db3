"""The `.cal` files of a job folder, and the `.apsis.yaml` that may name another folder for them."""

from collections.abc import Mapping
from pathlib import Path

from apsis_nb.core.calendars import Calendar, CalendarFileError, dates_from_text

from .faults import FileError
from .yaml12 import MAX_BYTES, Spot, YamlErrors, parse_yaml

#: At the top of a folder of jobs: what is common to its files.
COMMON = ".apsis.yaml"
#: Where the calendars are, unless `COMMON` names another folder.
CALENDARS = "_calendars"
SUFFIX = ".cal"


def load_calendars(root: Path) -> tuple[dict[str, Calendar], tuple[FileError, ...]]:
    """The calendars of a folder of jobs, by name, and what is wrong with their files.

    Args:
        root: the folder of jobs. Its `.apsis.yaml` may say `calendars: FOLDER`, from there.
    """
    folder, errors = _folder(root)
    calendars: dict[str, Calendar] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        name = path.name.removesuffix(SUFFIX)
        try:
            calendars[name] = dates_from_text(name, _text(path))
        except CalendarFileError as error:
            errors.append(_error(path, root, str(error), error.line))
        except OSError as error:
            errors.append(_error(path, root, f"cannot be read: {error.strerror or error}"))
        except UnicodeDecodeError:
            errors.append(_error(path, root, "is not UTF-8"))
    return calendars, tuple(errors)


def _folder(root: Path) -> tuple[Path, list[FileError]]:
    """Where the calendars are, and what is wrong with the file that says so."""
    common, usual = root / COMMON, root / CALENDARS
    try:
        if not common.is_file():
            return usual, []
        spot = parse_yaml(_text(common))
    except OSError as error:
        return usual, [_error(common, root, f"cannot be read: {error.strerror or error}")]
    except UnicodeDecodeError:
        return usual, [_error(common, root, "is not UTF-8")]
    except YamlErrors as error:
        return usual, [_error(common, root, f.message, f.line, f.col) for f in error.faults]
    if spot.value is None:
        return usual, []
    if not isinstance(spot.value, Mapping):
        return usual, [_error(common, root, "must be a mapping, with keys such as 'calendars'")]
    named = spot.value.get("calendars", CALENDARS)
    at = spot.find(("calendars",))
    if not isinstance(named, str) or not named:
        return usual, [_fault(common, root, at, "'calendars' must be the path of a folder")]
    if "calendars" in spot.value and not (root / named).is_dir():
        return usual, [_fault(common, root, at, f"'calendars': there is no folder '{named}'")]
    return root / named, []


def _text(path: Path) -> str:
    if not path.is_file():  # to open a pipe would wait for a writer
        raise OSError("it is no regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES).decode("utf-8-sig")


def _fault(path: Path, root: Path, at: Spot, message: str) -> FileError:
    return _error(path, root, message, at.line, at.col)


def _error(path: Path, root: Path, message: str, line: int = 1, col: int = 1) -> FileError:
    try:
        name = path.relative_to(root)
    except ValueError:
        name = path
    return FileError(str(path), line, col, (), message, name.as_posix())
