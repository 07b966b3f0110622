"""sqlite:// for QTasks: broker, storage and global config in one file, without a server."""

from qtasks_sqlite.broker import SqliteBroker
from qtasks_sqlite.global_config import SqliteGlobalConfig
from qtasks_sqlite.storage import SqliteStorage

__all__ = ["SqliteBroker", "SqliteGlobalConfig", "SqliteStorage"]
