"""A place where no database can be: callers and workers are told which, and why."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from damage.bench import Bench
from qtasks import QueueTasks
from qtasks.exceptions import ConfigError
from qtasks_testing.processes import WorkerFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qtasks_testing.processes import WorkerProcess

NOBODY = 65534
APP = 'from qtasks import QueueTasks\napp = QueueTasks("damage", "sqlite:///{}")\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        path.chmod(0o755)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Be a user to whom permissions mean something, also where tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(NOBODY)
    except OSError as error:
        pytest.skip(f"cannot become another user: {error}")
    try:
        yield
    finally:
        os.seteuid(0)


async def _refused(path: Path) -> str:
    """Return what adding a task to that file raises; several at once are told the same."""
    bench = Bench(f"sqlite:///{path}")
    try:
        answers = await bench.app.core.add_many([bench.app.core.draft("innocent", (1,), {})] * 3)
    finally:
        await bench.app.stop()
    assert [ConfigError] * 3 == list(map(type, answers))
    assert 1 == len(set(map(str, answers)))
    return str(answers[0])


async def test_a_folder_where_the_file_should_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error says so; it goes to the callers, and not into the log as a fault of somebody's code."""
    assert f"'{tmp_path}' is a folder; expected a file" == await _refused(tmp_path)
    assert [] == [record for record in caplog.records if record.exc_info]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    """It is never made: a typo would be a second, empty database. The app is not even built."""
    with pytest.raises(ConfigError, match=f"the folder '{tmp_path}/missing' does not exist"):
        QueueTasks("damage", f"sqlite:///{tmp_path}/missing/damage.db")

    assert [] == list(tmp_path.iterdir())


async def test_a_folder_that_is_gone_when_the_app_starts(tmp_path: Path) -> None:
    """The check when the app was built is not the last word."""
    place = tmp_path / "place"
    place.mkdir()
    bench = Bench(f"sqlite:///{place}/damage.db")
    place.rmdir()
    with pytest.raises(ConfigError, match=f"'{place}/damage.db' cannot be opened: unable to open database file"):
        await bench.app.add_task("innocent", 1)


@pytest.mark.usefixtures("unprivileged")
async def test_a_folder_that_is_read_only(folder: Path) -> None:
    """The error names the file and tells about its folder."""
    folder.chmod(0o555)

    expected = (
        f"'{folder}/damage.db' cannot be opened: unable to open database file; "
        "its folder is not writable, and files are made beside it"
    )
    assert expected == await _refused(folder / "damage.db")


async def _written_to(path: Path) -> None:
    """Make a database with one task."""
    bench = Bench(f"sqlite:///{path}")
    await bench.app.add_task("innocent", 1)
    await bench.app.stop()


async def test_a_file_that_is_read_only(folder: Path, request: pytest.FixtureRequest) -> None:
    """A file of somebody else in a folder that anybody may write to."""
    path = folder / "damage.db"
    folder.chmod(0o777)
    await _written_to(path)
    path.chmod(0o444)
    request.getfixturevalue("unprivileged")

    assert f"'{path}' cannot be opened: attempt to write a readonly database; it is not writable" == await _refused(
        path
    )


async def test_a_read_only_folder_around_a_database(folder: Path, request: pytest.FixtureRequest) -> None:
    """SQLite needs files beside its own: the error tells about the folder."""
    path = folder / "damage.db"
    await _written_to(path)
    path.chmod(0o666)
    folder.chmod(0o555)
    request.getfixturevalue("unprivileged")

    assert (await _refused(path)).endswith("; its folder is not writable, and files are made beside it")


async def test_a_folder_that_must_not_be_entered(folder: Path, request: pytest.FixtureRequest) -> None:
    """Nothing hangs, and no other exception comes through, where not even the file's name may be looked up."""
    place = folder / "place"
    (place / "below").mkdir(parents=True)
    place.chmod(0o600)
    request.getfixturevalue("unprivileged")

    assert f"'{place}/damage.db' cannot be opened: unable to open database file" in await _refused(place / "damage.db")
    with pytest.raises(ConfigError, match=f"the folder '{place}/below' does not exist, or must not be entered"):
        QueueTasks("damage", f"sqlite:///{place}/below/damage.db")


def test_a_worker_ends_with_exit_code_2_and_one_line(
    worker_process: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    """A wrong setting: a supervisor does not try such a worker again, and nobody reads a traceback."""
    (tmp_path / "place.py").write_text(APP.format(tmp_path))
    worker = worker_process("place", start=False)
    with pytest.raises(WorkerFailedError, match="ended with 2 before it was ready"):
        worker.start()

    assert f"Error: '{tmp_path}' is a folder; expected a file" in worker.log
    assert "Traceback" not in worker.log
