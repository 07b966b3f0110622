"""Test kit of QTasks: real worker processes, and in `qtasks_testing.kit` the suites that every backend must pass."""

from qtasks_testing.ledger import Ledger, LedgerEntry
from qtasks_testing.polling import eventually, eventually_sync
from qtasks_testing.processes import WorkerFailedError, WorkerProcess

__all__ = ["Ledger", "LedgerEntry", "WorkerFailedError", "WorkerProcess", "eventually", "eventually_sync"]
