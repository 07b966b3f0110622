"""redis:// for QTasks: broker, storage and global config on one Redis server."""

from qtasks_redis.broker import RedisBroker
from qtasks_redis.global_config import RedisGlobalConfig
from qtasks_redis.storage import RedisStorage

__all__ = ["RedisBroker", "RedisGlobalConfig", "RedisStorage"]
