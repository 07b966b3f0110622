"""An app whose plugins are called for real: in memory, and in a file that processes share."""

from pathlib import Path

import pytest

from qtasks import QueueConfig
from qtasks.asyncio import QueueTasks


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> QueueTasks:
    """Return an app, one for each backend that needs no server."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/triggers.db"
    return QueueTasks("triggers", url, config=QueueConfig(park_delay=0.02))
