"""`memory://`: broker, storage and global config in one process; the reference implementation of the contract.

Nothing outlives the app, nothing is shared with another process. `memory://NAME` is a second server within one app.

    broker, storage, global_config     what the engine talks to: take the lock, call the server, wait outside the lock
    component                          what these three have in common
    server                             `MemoryServer`: the steps that touch both a message and its record
    exchange, queue                    the broker's half: lines, dead letters, who holds what, who is idle
    ledger, stream                     the storage's half: records, unique keys, expiry, waiters, yielded values
    keys                               the global config's half
    task, signal                       all that is known of one uuid; how a thread wakes a coroutine of another's loop

Time is `context.clock()`. Whoever moves that clock calls `MemoryServer.touch()` afterwards, so that what sleeps until a
due time looks at it again; nothing polls.
"""

from qtasks_core.memory.broker import MemoryBroker
from qtasks_core.memory.global_config import MemoryGlobalConfig
from qtasks_core.memory.server import MemoryServer
from qtasks_core.memory.storage import MemoryStorage

__all__ = ["MemoryBroker", "MemoryGlobalConfig", "MemoryServer", "MemoryStorage"]
