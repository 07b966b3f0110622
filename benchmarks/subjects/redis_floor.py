"""The floor of redis://: redis-py with hiredis does what the structures of a task's life need, and nothing else.

A waiting task is a key with its envelope and an id in a list. Three scripts take a batch each: *add* writes both and
rings an idle worker, *take* moves ids to the set of what this worker runs, *finish* stores the results of those it
still owns, forgets them and publishes all results to their caller at once. Each run is one asyncio.Task.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import redis.asyncio
from _redis_subject import SLOTS, AsyncQueue, run, run_loop
from _redis_tasks import echo

if TYPE_CHECKING:
    from _wire import Wire

ENVELOPE, RECORD_BYTES, TTL_S = os.urandom(160), 110, 86_400  # as small as those of a task that returns its argument
HALF = SLOTS // 2  # settled and taken at once, while the other half runs
FILL = 500
ADD = """
local new = {}
for i = 2, #ARGV, 2 do
    if redis.call('SET', 'r:' .. ARGV[i], ARGV[i + 1], 'NX') then new[#new + 1] = ARGV[i] end
end
if #new > 0 then
    redis.call('RPUSH', KEYS[1], unpack(new))
    redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1])
    local idle = redis.call('SPOP', KEYS[3])
    if idle then redis.call('PUBLISH', 'bell:' .. idle, '') end
end
return #new
"""
TAKE = """
if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return redis.error_reply('FENCED') end
for _, priority in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    local ids = redis.call('LPOP', KEYS[1], ARGV[3])
    if ids then
        local keys = {}
        for i, id in ipairs(ids) do keys[i] = 'r:' .. id end
        local bodies = redis.call('MGET', unpack(keys))
        redis.call('SADD', KEYS[5], unpack(ids))
        return {ids, bodies}
    end
    redis.call('ZREM', KEYS[2], priority)
end
redis.call('SADD', KEYS[3], ARGV[1])
return {}
"""
FINISH = """
local ids, records = {}, {}
for i = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local owned = redis.call('SMISMEMBER', KEYS[1], unpack(ids))
for n, id in ipairs(ids) do
    if owned[n] == 1 then
        local record = ARGV[2 + 2 * n]
        redis.call('SET', 'r:' .. id, record, 'EX', ARGV[1])
        records[#records + 1] = record
    end
end
redis.call('SREM', KEYS[1], unpack(ids))
redis.call('PUBLISH', ARGV[2], table.concat(records))
return owned
"""
WAITING, PRIORITIES, IDLE, WORKERS, FLYING = "q:0", "p", "idle", "workers", "i:one:1"
NAME, EPOCH, MAILBOX = "one", "1", "mailbox"


class Floor(AsyncQueue):
    async def open(self) -> None:
        self._client = redis.asyncio.Redis.from_url(self.url)
        self._script = self._client.register_script(ADD)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: set[asyncio.Task[None]] = set()
        self._mailbox = self._client.pubsub(ignore_subscribe_messages=True)
        await self._mailbox.subscribe(MAILBOX)
        await self._mailbox.get_message(ignore_subscribe_messages=True, timeout=1)

    async def close(self) -> None:
        await self._mailbox.aclose()
        await self._client.aclose()

    async def add(self, name: str, number: int) -> None:  # noqa: ARG002  # it has one task only
        """Add one task; calls of one moment share a script call."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((os.urandom(16), done))
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._flush())
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)
        await done

    async def add_many(self, name: str, numbers: range) -> None:  # noqa: ARG002
        for first in range(0, len(numbers), FILL):
            await self._add([os.urandom(16) for _ in numbers[first : first + FILL]])

    async def ask(self, number: int) -> None:
        await self.add("echo", number)
        while await self._mailbox.get_message(timeout=10) is None:
            pass

    def stored(self, wire: Wire, tasks: int) -> int:
        return tasks if wire.count("r:*") == tasks and not wire.ask("LLEN", WAITING) else 0

    def work(self) -> None:
        run_loop(self._work())

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        await self._add([id_ for id_, _ in batch])
        for _, done in batch:
            done.set_result(None)

    async def _add(self, ids: list[bytes]) -> None:
        words: list[Any] = ["0"]
        for id_ in ids:
            words += (id_, ENVELOPE)
        await self._script(keys=[WAITING, PRIORITIES, IDLE], args=words)

    async def _work(self) -> None:
        client = redis.asyncio.Redis.from_url(self.url)
        await client.hset(WORKERS, NAME, EPOCH)
        bell = client.pubsub(ignore_subscribe_messages=True)
        await bell.subscribe("bell:" + NAME)
        take, finish = client.register_script(TAKE), client.register_script(FINISH)
        keys = [WAITING, PRIORITIES, IDLE, WORKERS, FLYING]
        words: list[Any] = [NAME, EPOCH, HALF]
        settling = asyncio.create_task(asyncio.sleep(0))
        while True:
            taken = await take(keys=keys, args=words)
            if taken:
                runs = [asyncio.create_task(echo(number)) for number in range(len(taken[0]))]
                await asyncio.gather(*runs)
                await settling
                settling = asyncio.create_task(_settle(finish, taken[0]))
            else:
                await settling
                while await bell.get_message(timeout=None) is None:
                    pass


async def _settle(finish: Any, ids: list[bytes]) -> None:
    words: list[Any] = [TTL_S, MAILBOX]
    for id_ in ids:
        words += (id_, id_ + bytes(RECORD_BYTES - len(id_)))
    await finish(keys=[FLYING], args=words)


if __name__ == "__main__":
    run(Floor)
