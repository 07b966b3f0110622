"""The whole kit on each mutant; `run.py` chooses from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qtasks_core.memory import MemoryServer
from qtasks_testing import kit
from qtasks_testing.kit import KitContext, Subject, Suite

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS, UNBROKEN  # a sibling: no package is here

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

URL = "memory://"


async def waiting(context: KitContext) -> Sequence[UUID]:
    tasks = MemoryServer.shared(URL, context).ledger.tasks
    return [uuid for uuid, task in tasks.items() if task.where == "waiting"]


@pytest.fixture(params=MUTANTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    mutant = MUTANTS[request.param]
    return Subject(
        URL,
        broker=mutant.factory("broker"),
        storage=mutant.factory("storage"),
        global_config=mutant.factory("global_config"),
        back_door=waiting,
        movable_clock=True,
        patience_s=10.0 if request.param == UNBROKEN else 0.5,  # to wait for a mutant is mostly in vain
        silence_s=0.02,
    )


for _name in kit.__all__:
    _suite = getattr(kit, _name)
    if _name.endswith("Suite") and _suite is not Suite:
        globals()[f"Test{_name}"] = type(f"Test{_name}", (_suite,), {"__module__": __name__})
