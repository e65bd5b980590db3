"""The `.cal` files of a job folder."""

from pathlib import Path

from apsis_nb.core.calendars import Calendar, CalendarFileError, dates_from_text

from .faults import FileError
from .yaml12 import MAX_BYTES

SUFFIX = ".cal"


def load_calendars(folder: Path, root: Path) -> tuple[dict[str, Calendar], tuple[FileError, ...]]:
    """The calendars of a folder, by name, and what is wrong with their files.

    Args:
        folder: where they are; it need not be there.
        root: the folder of jobs.
    """
    errors: list[FileError] = []
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


def _text(path: Path) -> str:
    if not path.is_file():  # to open a pipe would wait for a writer
        raise OSError("it is no regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES).decode("utf-8-sig")


def _error(path: Path, root: Path, message: str, line: int = 1) -> FileError:
    try:
        name = path.relative_to(root)
    except ValueError:
        name = path
    return FileError(str(path), line, 1, (), message, name.as_posix())
