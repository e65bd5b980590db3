"""The run store: every run, for years, in one DuckDB file, with the outputs in pack files beside it."""

from apsis_nb.store.errors import StoreError
from apsis_nb.store.rows import OutputRow
from apsis_nb.store.store import Store

__all__ = ["OutputRow", "Store", "StoreError"]
