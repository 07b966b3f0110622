"""The start banner and the logs: what they say, and when they are coloured."""

import contextlib
import io
import logging
from collections.abc import Iterator

import pytest

from qtasks_core.app import App
from qtasks_core.blocking import QueueTasks
from qtasks_core.cli.banner import banner_rows, show_banner
from qtasks_core.cli.logs import set_up_logs
from qtasks_core.config import QueueConfig
from qtasks_core.version import __version__

ESCAPE = "\033["


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def core() -> App:
    app = QueueTasks("Shop", "memory://", config=QueueConfig(concurrency=7, queues=("fast", "bulk")))

    @app.task
    def price() -> None: ...

    @app.task(queue="slow")
    def report() -> None: ...

    return app.core


def test_the_banner_says_what_the_worker_is(core: App) -> None:
    """App, version, components, queues, tasks, concurrency and processes; and the tasks that nobody takes here."""
    rows = dict(banner_rows(core, queues=None, concurrency=None, processes=None))
    assert rows == {
        "app": "Shop",
        "version": __version__,
        "broker": "memory://",
        "storage": "memory://",
        "global config": "memory://",
        "queues": "fast, bulk",
        "tasks": "price",
        "not taken here": "report (queue slow)",
        "concurrency": "7",
        "processes": "1",
    }


def test_options_go_before_settings(core: App) -> None:
    """What was named on the command line is what the banner says."""
    rows = dict(banner_rows(core, queues=("fast", "slow"), concurrency=2, processes=3))
    assert rows["queues"] == "fast, slow"
    assert rows["tasks"] == "price, report"
    assert rows["concurrency"] == "2"
    assert rows["processes"] == "3, supervised"
    assert "not taken here" not in rows


def test_passwords_are_masked(core: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs come from `describe()`, which masks them."""
    core.sources = core.sources._replace(broker_url="redis://me:secret@host/0")
    rows = dict(banner_rows(core, queues=None, concurrency=None, processes=None))
    assert rows["broker"] == "redis://me:***@host/0"
    assert "secret" not in str(rows)


def test_many_tasks_are_counted(core: App) -> None:
    """Twenty names are listed, the rest is a number."""
    app = QueueTasks("Many", "memory://")
    for number in range(23):
        app.task(name=f"task{number:02}")(lambda: None)
    rows = dict(banner_rows(app.core, queues=None, concurrency=None, processes=None))
    assert rows["tasks"].startswith("task00, task01, ")
    assert rows["tasks"].endswith(", task19 … and 3 more")


def test_elsewhere_than_on_a_terminal_the_banner_is_plain_lines() -> None:
    """A file gets one line for each row, nothing else."""
    out = io.StringIO()
    show_banner([("app", "Shop"), ("global config", "none")], no_color=False, stream=out)
    assert out.getvalue() == "app            Shop\nglobal config  none\n"


def test_on_a_terminal_the_banner_is_a_coloured_panel() -> None:
    """A terminal gets rich's frame; names are text there, never markup."""
    out = Terminal()
    show_banner([("app", "[red]Shop")], no_color=False, stream=out)
    assert ESCAPE in out.getvalue()
    assert "QTasks" in out.getvalue()
    assert "[red]Shop" in out.getvalue()


def test_no_color_makes_the_banner_plain_on_a_terminal_too() -> None:
    """--no-color."""
    out = Terminal()
    show_banner([("app", "Shop")], no_color=True, stream=out)
    assert out.getvalue() == "app            Shop\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_environment_makes_the_banner_plain(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR, and terminals that cannot."""
    monkeypatch.setenv(name, value)
    out = Terminal()
    show_banner([("app", "Shop")], no_color=False, stream=out)
    assert out.getvalue() == "app            Shop\n"


# ---------------------------------------------------------------- logs


@contextlib.contextmanager
def no_handlers_but(*handlers: logging.Handler) -> Iterator[logging.Logger]:
    """Take away pytest's own handlers, as in a process of its own; yield the logger `qtasks`."""
    root, ours = logging.getLogger(), logging.getLogger("qtasks")
    kept, level = root.handlers, ours.level
    root.handlers = list(handlers)
    try:
        yield ours
    finally:
        root.handlers, ours.handlers = kept, []
        ours.setLevel(level)


@pytest.mark.parametrize("level", ["warning", "WARNING"])
def test_logs_have_time_level_logger_and_message(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, to stderr, from the level on that was asked for."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    with no_handlers_but():
        set_up_logs(level, no_color=False)
        logging.getLogger("qtasks.worker").info("not this")
        logging.getLogger("qtasks.worker").warning("worker %s", "ready")
    assert out.getvalue().count("\n") == 1
    time, text = out.getvalue()[:23], out.getvalue()[24:]
    assert len(time.split()) == 2
    assert text == "WARNING  qtasks.worker: worker ready\n"


@pytest.mark.parametrize(("no_color", "coloured"), [(False, True), (True, False)])
def test_only_the_level_is_coloured_and_only_where_wanted(
    no_color: bool, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal gets a coloured level unless --no-color."""
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    with no_handlers_but():
        set_up_logs("info", no_color=no_color)
        logging.getLogger("qtasks").error("lost")
    assert (ESCAPE in out.getvalue()) is coloured
    assert out.getvalue().endswith(" qtasks: lost\n")


def test_a_users_own_logging_stays_as_it_is() -> None:
    """Where the app's module has set up handlers, only the level is set."""
    with no_handlers_but(logging.NullHandler()) as ours:
        set_up_logs("debug", no_color=False)
        assert ours.handlers == []
        assert ours.level == logging.DEBUG
