"""Who runs a worker: the default starter or a user's own, each told what was asked for."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from qtasks_core import aio, blocking
from qtasks_core.cli.group import qtasks
from qtasks_core.config import RunOptions
from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from qtasks_core.app import App


class Noting:
    """A starter that starts nothing."""

    def __init__(self) -> None:
        self.runs: list[tuple[App, RunOptions]] = []

    def run(self, app: App, options: RunOptions) -> int:
        self.runs.append((app, options))
        return 3


@pytest.mark.parametrize("face", [aio.QueueTasks, blocking.QueueTasks])
def test_a_users_starter_is_told_what_run_forever_is_asked_for(
    face: type[aio.QueueTasks | blocking.QueueTasks],
) -> None:
    """It gets the app and the options, as the default starter does; its exit code is returned."""
    starter = Noting()
    app = face("test", "memory://", starter=starter)

    assert 3 == app.run_forever(concurrency=2, queues=["a", "b"])
    assert 3 == app.run_forever()
    assert [(app.core, RunOptions(concurrency=2, queues=("a", "b"))), (app.core, RunOptions())] == starter.runs
    assert starter is app.starter


def test_a_users_starter_is_told_what_stands_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """`qtasks run` passes its options to whoever starts workers."""
    starter = Noting()
    core = blocking.QueueTasks("test", "memory://", starter=starter).core
    monkeypatch.setattr("qtasks_core.cli.run.load_app", lambda ref: core)
    args = ["-A", "shop:app", "run", "--log-level", "error", "--concurrency", "2", "-Q", "a,b", "--parent", "7"]
    done = CliRunner().invoke(qtasks, args)

    assert 3 == done.exit_code
    assert [(core, RunOptions(concurrency=2, queues=("a", "b"), parent=7, supervised=True))] == starter.runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "option concurrency: expected `int` >= 1; got 0"),
        ({"queues": "mail"}, "option queues: expected a list of names, none of them empty; got 'mail'"),
        ({"queues": []}, r"option queues: expected at least one name, got \(\)"),
        ({"queues": [""]}, r"option queues: expected a list of names, none of them empty; got \[''\]"),
    ],
    ids=str,
)
def test_run_forever_refuses_what_makes_no_sense(options: dict[str, object], message: str) -> None:
    """A text is no list of queues, and none is not the setting: the error says what was expected; nothing is run."""
    starter = Noting()
    app = blocking.QueueTasks("test", "memory://", starter=starter)
    with pytest.raises(ConfigError, match=message):
        app.run_forever(**options)  # type: ignore[arg-type]

    assert [] == starter.runs


def test_what_is_loaded_is_left_out_of_garbage_collections_while_a_worker_runs() -> None:
    """The heap is frozen before the first task, and thawed for a program that goes on after its worker."""
    app = blocking.QueueTasks("test", "memory://")
    frozen: list[int] = []

    @app.task
    def count() -> None:
        frozen.append(gc.get_freeze_count())
        app.core.stop_worker()

    count.add_task()
    before = gc.get_freeze_count()
    assert 0 == app.run_forever()
    assert [True] == [count > before for count in frozen]
    assert 0 == gc.get_freeze_count()
