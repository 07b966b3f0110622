"""What memory:// keeps for the sake of records that expire."""

from __future__ import annotations

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.memory import MemoryStorage
from qtasks_testing.kit import KitContext
from qtasks_testing.kit.samples import final


@pytest.mark.parametrize("lasting", [0, 500])
async def test_what_is_deleted_takes_no_room_until_its_time(
    lasting: int,
) -> None:
    """However many come and go, and whatever stays beside them; nothing that stays expires early or late."""
    context = KitContext(config=QueueConfig(result_ttl=100.0))
    storage = MemoryStorage("memory://", context)
    stays = [final(ttl_s=50.0) for _ in range(lasting)]
    await storage.finish(stays)
    for _ in range(20):
        ended = [final() for _ in range(100)]
        await storage.finish(ended)
        assert 100 == await storage.delete([one.uuid for one in ended])

    ledger = storage.server.ledger
    assert lasting == len(ledger.tasks)
    assert len(ledger._expiring) <= 2 * (lasting + 100)
    context.advance(49)
    assert lasting == sum(one is not None for one in await storage.get([one.uuid for one in stays]))
    context.advance(1)
    await storage.get([])
    assert {} == ledger.tasks
    assert len(ledger._expiring) <= 100
