"""A stranger's distribution, installed beside the released wheels, serves its scheme, and is missed when it is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheels, pytest.mark.timeout(300)]

RELEASED = ("qtasks-core", "qtasks-sqlite", "qtasks")
STRANGER = "examples/third_party/qtasks-dir"
PARTS = ["broker", "global_config", "storage"]
APP = """
from qtasks import QueueTasks

app = QueueTasks("shop", broker_url="dir:///{folder}/data")


@app.task
def add(x: int, y: int) -> int:
    return x + y
"""
CALL = "from app import add; print(add.add_task(1, 2).result(timeout=30))"


@pytest.fixture
def python(root: Path, tmp_path: Path) -> Path:
    """Return the interpreter of a fresh environment that has only wheels: the released ones, and the stranger's."""
    wheels, folder = tmp_path / "wheels", tmp_path / "fresh"
    sources = [*(root / "packages" / name for name in RELEASED), root / STRANGER]
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, *sources])
    _run([sys.executable, "-m", "venv", folder])
    interpreter = folder / "bin" / "python"
    _run([interpreter, "-m", "pip", "install", "--quiet", *wheels.glob("*.whl")])
    return interpreter


def test_a_strangers_scheme_comes_and_goes_with_its_distribution(python: Path, tmp_path: Path) -> None:
    """By URL with `qtasks run`, in `qtasks plugins`; uninstalled, the error tells the nearest scheme and the way."""
    qtasks = python.with_name("qtasks")
    (tmp_path / "app.py").write_text(APP.format(folder=tmp_path), encoding="utf-8")

    with _worker([qtasks, "-A", "app:app", "run"], tmp_path):
        assert _run([python, "-c", CALL], cwd=tmp_path) == "3\n"
    assert (tmp_path / "data" / "shop" / "queues").is_dir()

    listed = [found for found in json.loads(_run([qtasks, "plugins", "--json"]))["schemes"] if found["name"] == "dir"]
    assert [("qtasks-dir", "available")] * 3 == [(found["distribution"], found["state"]) for found in listed]
    assert sorted(found["part"] for found in listed) == PARTS

    _run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "qtasks-dir"])
    told = _run([python, "-c", CALL], cwd=tmp_path, code=1)
    assert "no installed package serves dir://; did you mean redis://" in told
    assert "A package brings a scheme by an entry point in the group 'qtasks.brokers'." in told
    assert '"dir"' not in _run([qtasks, "plugins", "--json"])


@contextmanager
def _worker(command: list[object], folder: Path) -> Iterator[None]:
    """Run a worker in the block, and see that it stops cleanly."""
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while "worker ready" not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.02)
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, log.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()


def _run(command: list[object], *, cwd: Path | None = None, code: int = 0) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stderr
