"""What a run executes: the kinds of program, as values. `apsis_nb.programs` really runs them."""

from .amounts import read_size
from .classes import ClassKeys, ClassOf
from .hosts import ECS_HOST, HOSTS_OF_ITS_OWN, LOCAL, Hosts, host_of
from .kinds import (
    SHELL,
    Custom,
    Ecs,
    Internal,
    InternalType,
    NoOp,
    Outcome,
    Process,
    Program,
    PythonCall,
    Resources,
    SqlQuery,
    Stop,
    Task,
    Timeout,
)
from .outputs import KeptFile, Output, kept_file_reader
from .reading import COMMON_KEYS, NO_SITE, PROGRAM_TYPES, Site, host_reader, is_import_path, program_from_dict
from .texts import Expand, name_reader, read_program_text, read_template, read_templates

__all__ = [
    "COMMON_KEYS",
    "ECS_HOST",
    "HOSTS_OF_ITS_OWN",
    "LOCAL",
    "NO_SITE",
    "PROGRAM_TYPES",
    "SHELL",
    "ClassKeys",
    "ClassOf",
    "Custom",
    "Ecs",
    "Expand",
    "Hosts",
    "Internal",
    "InternalType",
    "KeptFile",
    "NoOp",
    "Outcome",
    "Output",
    "Process",
    "Program",
    "PythonCall",
    "Resources",
    "Site",
    "SqlQuery",
    "Stop",
    "Task",
    "Timeout",
    "host_of",
    "host_reader",
    "is_import_path",
    "kept_file_reader",
    "name_reader",
    "program_from_dict",
    "read_program_text",
    "read_size",
    "read_template",
    "read_templates",
]
