"""What a process is there for: one that runs tasks for a worker starts none itself."""

from __future__ import annotations

import pytest

from qtasks_core import role
from qtasks_core.aio import QueueTasks


@pytest.fixture
def _in_pool_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role, "_roles", set())
    role.become_pool_process()


def test_a_program_is_no_pool_process() -> None:
    """Unless it is told to be one."""
    assert not role.is_pool_process()
    role.refuse_worker()


@pytest.mark.usefixtures("_in_pool_process")
def test_a_pool_process_starts_no_worker() -> None:
    """Whichever way it is asked to; the error says what to write."""
    app = QueueTasks("role", "memory://")
    with pytest.raises(RuntimeError, match='under `if __name__ == "__main__":`'):
        app.run_forever()


@pytest.mark.usefixtures("_in_pool_process")
async def test_a_pool_process_embeds_no_worker() -> None:
    """`async with app.worker()` neither."""
    app = QueueTasks("role", "memory://")
    with pytest.raises(RuntimeError, match="a worker was started while a process of its pool imported the app"):
        async with app.worker():
            pass
    await app.stop()
