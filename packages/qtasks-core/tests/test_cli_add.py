"""`qtasks add`: real calls; the app's module starts a worker for those who wait, so that memory:// has one."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

DEADLINE_S = 30.0

SHOP = """
import atexit
import sys
import threading
from datetime import date
from qtasks_core.blocking import QueueTasks

app = QueueTasks("Shop", "memory://")
never = threading.Event()

@app.task
def price(net: int, tax: int = 2) -> int:
    return net + tax

@app.task
def label(kind: str, **parts: str) -> dict[str, object]:
    return {"kind": kind, "parts": parts, "on": date(2024, 2, 29)}

@app.task
def fail() -> None:
    raise ValueError("no stock")

@app.task
def hang() -> None:
    never.wait()

# Who does not wait may be gone before its task has begun, and no thread can be started for it any more.
if "--wait" in sys.argv:
    # A daemon thread that comes back from its task while the interpreter ends may crash it: this one is waited for.
    worker = app.worker()
    worker.__enter__()
    atexit.register(worker.__exit__, None, None, None)
    atexit.register(never.set)  # called first: a task that was begun ends, so the worker has none to give back
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def add(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run `qtasks -A shop add ARGS`."""
    command = [sys.executable, "-m", "qtasks_core", "-A", "shop", "add", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_add_prints_the_uuid(project: Path) -> None:
    """Without --wait one line: the id of the task that is now queued."""
    done = add(project, "price", "--args", "[1]")
    assert (done.returncode, done.stderr) == (0, "")
    assert UUID(done.stdout.strip()).version == 7


@pytest.mark.parametrize(
    "args",
    [("--args", "[1, 2]"), ("--args", "[1]", "--kwargs", '{"tax": 2}'), ("--kwargs", '{"net": 1, "tax": 2}')],
    ids=["args", "both", "kwargs"],
)
def test_wait_prints_the_result(project: Path, args: tuple[str, ...]) -> None:
    """With --wait one line: the result as JSON, however the arguments were given."""
    done = add(project, "price", *args, "--wait", "--timeout", "20")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_a_result_is_json_also_where_json_has_no_such_type(project: Path) -> None:
    """Dates become text; a parameter may be called `name`, as the command's own argument is."""
    done = add(project, "label", "--args", '["box"]', "--kwargs", '{"name": "x"}', "--wait")
    assert json.loads(done.stdout) == {"kind": "box", "parts": {"name": "x"}, "on": "2024-02-29"}


def test_a_failed_task_is_told_with_its_remote_traceback(project: Path) -> None:
    """Exit code 1, nothing on stdout, the remote error on stderr."""
    done = add(project, "fail", "--wait")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ValueError: no stock" in done.stderr
    assert "remote traceback:" in done.stderr
    assert 'shop.py", line' in done.stderr
    assert "qtasks_core/cli" not in done.stderr


def test_a_wait_that_is_too_long_names_the_task(project: Path) -> None:
    """The task goes on, so its uuid is told; exit code 1."""
    done = add(project, "hang", "--wait", "--timeout", "0.2")
    assert done.returncode == 1
    assert "has no result after 0.2 s; it goes on" in done.stderr
    assert UUID(done.stderr.split("task ")[1].split()[0]).version == 7


def test_arguments_that_do_not_fit_are_a_usage_error(project: Path) -> None:
    """The function's own words, before anything is sent; exit code 2."""
    done = add(project, "price", "--args", "[1, 2, 3]")
    assert (done.returncode, done.stdout) == (2, "")
    assert "price() takes" in done.stderr or "too many positional arguments" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--args", "1, 2"), "'--args': expected a JSON array such as [1, 2], got '1, 2' (Extra data"),
        (("--args", '{"a": 1}'), "'--args': expected a JSON array such as [1, 2], got '{\"a\": 1}'"),
        (("--kwargs", "[1]"), "'--kwargs': expected a JSON object such as {\"a\": 1}, got '[1]'"),
        (("--timeout", "1"), "--timeout needs --wait"),
    ],
    ids=["no JSON", "object", "array", "timeout"],
)
def test_wrong_options_are_usage_errors(project: Path, args: tuple[str, ...], message: str) -> None:
    """The message says what was expected and what came; exit code 2."""
    done = add(project, "price", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())


def test_a_name_that_the_app_does_not_know_is_sent_with_a_warning(project: Path) -> None:
    """Other processes may have the task's code; a typo is told, with the nearest name."""
    done = add(project, "prize")
    assert done.returncode == 0
    assert UUID(done.stdout.strip()).version == 7
    assert "Warning: this app has no task 'prize' (did you mean 'price'?). It waits for a worker" in done.stderr


def test_a_server_that_refuses_is_told_without_a_traceback(project: Path) -> None:
    """An error of QTasks while adding: its name and message, exit code 1."""
    (project / "shop.py").write_text(
        SHOP.replace('"memory://"', '"memory://", config=QueueConfig(max_message_bytes=64)').replace(
            "import threading", "import threading\nfrom qtasks_core.config import QueueConfig", 1
        )
    )
    done = add(project, "label", "--args", json.dumps(["x" * 100]))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: PayloadTooLargeError: ")
