"""The run store: every run, for years, in one DuckDB file, with the outputs in pack files beside it."""

from apsis_nb.store.archive import Month
from apsis_nb.store.archiving import Old
from apsis_nb.store.backups import Backup, backups_in
from apsis_nb.store.compacting import Compacted, compact
from apsis_nb.store.errors import BackupExists, QueryError, StoreError, StoreFull, StoreInUse
from apsis_nb.store.importing import Report, import_runs, open_source
from apsis_nb.store.outputs import content_type
from apsis_nb.store.restoring import restorable, restore
from apsis_nb.store.retention import Amount
from apsis_nb.store.rows import LogLine, MetaRow, NoticeRow, NoticeState, OutputRow
from apsis_nb.store.store import HISTORY, PIECE_ROWS, Questions, Store
from apsis_nb.store.store_file import ArchiveFiles, FileQuestions, StoreFile, is_archive
from apsis_nb.store.wanted import Wanted

__all__ = [
    "HISTORY",
    "PIECE_ROWS",
    "Amount",
    "ArchiveFiles",
    "Backup",
    "BackupExists",
    "Compacted",
    "FileQuestions",
    "LogLine",
    "MetaRow",
    "Month",
    "NoticeRow",
    "NoticeState",
    "Old",
    "OutputRow",
    "QueryError",
    "Questions",
    "Report",
    "Store",
    "StoreError",
    "StoreFile",
    "StoreFull",
    "StoreInUse",
    "Wanted",
    "backups_in",
    "compact",
    "content_type",
    "import_runs",
    "is_archive",
    "open_source",
    "restorable",
    "restore",
]
