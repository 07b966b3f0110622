"""The triggers of the starter, which runs a worker process."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from qtasks.asyncio import QueueTasks
from triggers.noting import PATIENCE_S, noting


@pytest.mark.fires("starter_start", "starter_stop")
def test_the_life_of_a_worker_process_is_told(app: QueueTasks) -> None:
    """All its parts are started; later its worker has stopped."""
    notes = noting(app, "worker_start", "worker_stop", "starter_stop", starter_start=app.core.stop_worker)
    with ThreadPoolExecutor(1) as pool:  # where it installs no signal handlers
        assert 0 == pool.submit(app.run_forever).result(PATIENCE_S)

    assert ["worker_start", "starter_start", "worker_stop", "starter_stop"] == notes.order
    assert {"starter": app.starter} == notes.one("starter_start") == notes.one("starter_stop")
