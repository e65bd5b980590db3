"""A folder of YAML files -> jobs; what is wrong with a file, to the line and column."""

from .faults import FileError
from .folder import Folder, JobFile, check_folder, job_id_of, load_file, load_folder, load_text

__all__ = [
    "FileError",
    "Folder",
    "JobFile",
    "check_folder",
    "job_id_of",
    "load_file",
    "load_folder",
    "load_text",
]
