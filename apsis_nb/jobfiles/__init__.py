"""A folder of YAML files -> jobs; what is wrong with a file, to the line and column."""

from .edit import edit_yaml
from .faults import FileError
from .folder import Folder, JobFile, check_folder, job_id_of, load_file, load_folder, load_text, root_of
from .settings import SETTINGS, Functions, Settings, import_functions

__all__ = [
    "SETTINGS",
    "FileError",
    "Folder",
    "Functions",
    "JobFile",
    "Settings",
    "check_folder",
    "edit_yaml",
    "import_functions",
    "job_id_of",
    "load_file",
    "load_folder",
    "load_text",
    "root_of",
]
