"""`dir://` for QTasks: broker, storage and global config in a plain directory."""

from qtasks_dir.broker import DirBroker
from qtasks_dir.global_config import DirGlobalConfig
from qtasks_dir.storage import DirStorage

__all__ = ["DirBroker", "DirGlobalConfig", "DirStorage"]
