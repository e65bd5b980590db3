"""A folder of YAML files -> jobs; what is wrong with a file, to the line and column."""

from .code import import_class
from .edit import CannotEdit, edit_yaml, yaml_of
from .faults import FileError
from .folder import Folder, JobFile, check_folder, job_id_of, load_file, load_folder, load_text, root_of
from .settings import SETTINGS, Functions, Settings, import_functions
from .yaml12 import YamlErrors

__all__ = [
    "SETTINGS",
    "CannotEdit",
    "FileError",
    "Folder",
    "Functions",
    "JobFile",
    "Settings",
    "YamlErrors",
    "check_folder",
    "edit_yaml",
    "import_class",
    "import_functions",
    "job_id_of",
    "load_file",
    "load_folder",
    "load_text",
    "root_of",
    "yaml_of",
]
