"""Which app a task belongs to: its own, or those that took it from a router or from shared tasks."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, NamedTuple

from qtasks_core.errors import UnboundTaskError
from qtasks_core.task_context import running_task

if TYPE_CHECKING:
    from qtasks_core.app import App
    from qtasks_core.definition import TaskDefinition

__all__ = ["Bound", "Home"]


class Bound(NamedTuple):
    """A task of one app."""

    app: App
    definition: TaskDefinition

    def find(self) -> Bound:
        """Return itself: which app is meant is known."""
        return self

    def of(self, app: App) -> Bound | None:
        """Return itself for its own app."""
        return self if app is self.app else None

    def named(self, name: str) -> tuple[TaskDefinition, App] | None:
        """Return the parts of itself, None under another name."""
        return (self.definition, self.app) if name == self.definition.name else None


class Home:
    """The apps that took a task which was declared without one; they may end before it does.

    Parameters:
        definition: As it was declared.
        cure: How it gets an app, for messages.
    """

    def __init__(self, definition: TaskDefinition, cure: str) -> None:
        self.declared = definition
        """As it was declared."""
        self._cure = cure
        self._taken: tuple[tuple[weakref.ref[App], TaskDefinition], ...] = ()

    @property
    def definition(self) -> TaskDefinition:
        """As the only app has it, else as it was declared."""
        found = self._living()
        return found[0].definition if len(found) == 1 else self.declared

    def take(self, app: App, definition: TaskDefinition) -> None:
        """Belong to one more app.

        Parameters:
            app: The app.
            definition: The task as that app has it.
        """
        kept = [(one.app, one.definition) for one in self._living() if one.app is not app]
        self._taken = tuple((weakref.ref(owner), own) for owner, own in [*kept, (app, definition)])

    def of(self, app: App) -> Bound | None:
        """Return the task of an app, None when that has not taken it."""
        return next((one for one in self._living() if one.app is app), None)

    def named(self, name: str) -> tuple[TaskDefinition, App | None]:
        """Return the task under this name, and the app that has it so; without an app where it is not one app."""
        found = [one for one in self._living() if one.definition.name == name]
        if len(found) == 1:
            return found[0].definition, found[0].app
        return self.declared.renamed(name), None

    def find(self) -> Bound:
        """Return the task of the only app; of several, of the one whose task runs here.

        Raises:
            UnboundTaskError: There is no app, or it is not clear which one is meant.
        """
        found = self._living()
        if len(found) > 1:
            found = self._of_running(found)
            if not found:  # and nothing here holds an app any more
                found = self._surviving()
        if len(found) == 1:
            return found[0]
        name = self.declared.name
        if not found:
            raise UnboundTaskError(f"task {name!r} belongs to no app yet: {self._cure}")
        apps = ", ".join(repr(one.app.name) for one in found)
        raise UnboundTaskError(
            f"task {name!r} belongs to {len(found)} apps ({apps}): app.bind(task) says which is meant"
        )

    def _living(self) -> list[Bound]:
        found = [(ref(), definition) for ref, definition in self._taken]
        return [Bound(app, definition) for app, definition in found if app is not None]

    def _surviving(self) -> list[Bound]:
        """Do not count an app that nobody has any more, as each test may leave one."""
        gc.collect()
        return self._living()

    def _of_running(self, found: list[Bound]) -> list[Bound]:
        run = running_task()
        if run is None:
            return []
        try:
            here = run.context.app.core
        except RuntimeError:  # a pool process may not know the app of its task
            return []
        return [one for one in found if one.app is here]
