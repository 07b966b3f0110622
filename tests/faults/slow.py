"""The app of `faults.tasks` in a module that takes its time: it is loaded when somebody has made the file `go`."""

from __future__ import annotations

import time
from pathlib import Path

from faults.tasks import app

__all__ = ["app"]

Path("loading").touch()
while not Path("go").exists():
    time.sleep(0.01)
