"""Test kit of QTasks: real processes and servers, and in `qtasks_testing.kit` the suites every backend must pass."""

from qtasks_testing.ledger import Ledger, LedgerEntry
from qtasks_testing.polling import eventually, eventually_sync
from qtasks_testing.processes import WorkerFailedError, WorkerProcess
from qtasks_testing.proxy import ProxyCut, TcpProxy
from qtasks_testing.redis_server import RedisSentinel, RedisServer
from qtasks_testing.resp import RedisReplyError
from qtasks_testing.servers import ServerFailedError, ServerProcess

__all__ = [
    "Ledger",
    "LedgerEntry",
    "ProxyCut",
    "RedisReplyError",
    "RedisSentinel",
    "RedisServer",
    "ServerFailedError",
    "ServerProcess",
    "TcpProxy",
    "WorkerFailedError",
    "WorkerProcess",
    "eventually",
    "eventually_sync",
]
