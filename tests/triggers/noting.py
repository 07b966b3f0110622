"""A plugin that notes which triggers it was called for and with what, and answers what a test wants."""

from __future__ import annotations

import inspect
from typing import Any

from qtasks.asyncio import QueueTasks
from qtasks.plugins import BasePlugin
from qtasks_core import hookspecs

PATIENCE_S = 30.0


class Notes(BasePlugin):
    """Answers triggers by functions that take what they need of the arguments.

    Parameters:
        answers: Functions by trigger; None: it only notes.
    """

    name = "notes"

    def __init__(self, answers: dict[str, Any]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers

    def trigger(self, name: str, /, **kwargs: Any) -> Any:
        self.calls.append((name, kwargs))
        answer = self._answers[name]
        if answer is None:
            return None
        wanted = inspect.signature(answer).parameters
        return answer(**{one: kwargs[one] for one in wanted})

    @property
    def order(self) -> list[str]:
        """The triggers in the order of their calls."""
        return [name for name, _ in self.calls]

    def of(self, trigger: str) -> list[dict[str, Any]]:
        """Return what each call of a trigger gave, when that was all that it declares."""
        given = [kwargs for name, kwargs in self.calls if name == trigger]
        declared = set(inspect.signature(getattr(hookspecs, trigger)).parameters)
        assert [declared] * len(given) == [set(kwargs) for kwargs in given]
        return given

    def one(self, trigger: str) -> dict[str, Any]:
        """Return what the only call of a trigger gave."""
        (given,) = self.of(trigger)
        return given


def noting(app: QueueTasks, *triggers: str, **answers: Any) -> Notes:
    """Have a plugin note triggers, and answer others."""
    notes = Notes({**dict.fromkeys(triggers), **answers})
    app.add_plugin(notes, trigger_names=[*triggers, *answers])
    return notes
