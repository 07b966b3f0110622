"""What users get: wheels, built from the source archives and installed into a fresh environment, run a first app."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheels, pytest.mark.timeout(300)]

INSTALLED = ("qtasks", "qtasks_core", "qtasks_sqlite")  # what `pip install qtasks` brings of this project
TITLED = re.compile(r'^```python title="(?P<name>[^"]+)"\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def wheels(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build all packages; return wheels by import name."""
    folder = tmp_path_factory.mktemp("dist")
    _run([root / "scripts/build", folder], cwd=root)
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def python(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh environment that has the wheels and, from the index, what they need."""
    folder = tmp_path_factory.mktemp("fresh")
    interpreter = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", folder])
    _run([interpreter, "-m", "pip", "install", "--quiet", *(wheels[name] for name in INSTALLED)])
    return interpreter


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """Return a folder that holds nothing but the programs of the README."""
    for found in TITLED.finditer((root / "README.md").read_text(encoding="utf-8")):
        (tmp_path / found["name"]).write_text(found["code"], encoding="utf-8")
    return tmp_path


@pytest.fixture
def worker(python: Path, project: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a worker of the first app that takes tasks."""
    log = project / "worker.log"
    command = [str(python.with_name("qtasks")), "-A", "app:app", "run"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=project, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 30
    while "worker ready" not in log.read_text(encoding="utf-8"):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def _run(command: list[object], *, cwd: Path | None = None) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_a_wheel_holds_its_source_and_licence(root: Path, wheels: dict[str, Path]) -> None:
    """Each module and py.typed of each package is in its wheel, with the licence, and nothing else is."""
    folders = sorted((root / "packages").iterdir())
    assert [folder.name.replace("-", "_") for folder in folders] == sorted(wheels)
    for folder in folders:
        source = folder / "src"
        expected = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
        with zipfile.ZipFile(wheels[folder.name.replace("-", "_")]) as wheel:
            names = wheel.namelist()
        packed = {name for name in names if ".dist-info/" not in name}
        assert {name for name in expected if "__pycache__" not in name} == packed
        assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_nothing_but_the_wheels_is_imported(python: Path, tmp_path: Path) -> None:
    """The fresh environment has the packages of this version in its own folder, and not the test kit."""
    script = "import qtasks, qtasks_core, qtasks_sqlite; print(qtasks.__file__, qtasks_core.__file__)"
    assert all(
        Path(name).is_relative_to(python.parents[1]) for name in _run([python, "-c", script], cwd=tmp_path).split()
    )
    _run([python, "-c", "import importlib.util as u; assert u.find_spec('qtasks_testing') is None"], cwd=tmp_path)


def test_the_command_line_says_its_version(python: Path, wheels: dict[str, Path], tmp_path: Path) -> None:
    """`qtasks version` and `python -m qtasks version` say what is installed."""
    version = wheels["qtasks"].name.split("-")[1]
    for command in ([python.with_name("qtasks")], [python, "-m", "qtasks"]):
        assert re.search(rf"\b{re.escape(version)}\b", _run([*command, "version"], cwd=tmp_path))


def test_the_first_app_of_the_readme_runs(python: Path, project: Path, worker: subprocess.Popen[bytes]) -> None:
    """A worker in one process, a caller in another, no configuration: 1 + 2 is 3, and SIGTERM ends it cleanly."""
    assert _run([python, "app.py"], cwd=project) == "3\n"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0, (project / "worker.log").read_text(encoding="utf-8")


@pytest.mark.usefixtures("worker")
def test_the_same_runs_with_await(python: Path, project: Path) -> None:
    """The async face of another program reaches the tasks of the same worker."""
    assert _run([python, "calls.py"], cwd=project) == "3\n[3, 7, 11]\n"


APP_OF_A_NEW_BROKER = """
from qtasks import QueueTasks

app = QueueTasks("new", "mine://", storage_url="memory://")


@app.task
def add(x: int, y: int) -> int:
    return x + y


with app.worker():
    print(add.add_task(1, 2).result(timeout=30))
app.stop()
"""


def test_a_new_plugin_is_used_by_its_url(wheels: dict[str, Path], tmp_path: Path) -> None:
    """What `qtasks new-plugin` writes is built, installed beside the wheels, and serves its scheme."""
    python = tmp_path / "fresh/bin/python"
    qtasks = python.with_name("qtasks")
    _run([sys.executable, "-m", "venv", tmp_path / "fresh"])
    pip = [python, "-m", "pip"]
    _run([*pip, "install", "--quiet", *(wheels[name] for name in (*INSTALLED, "qtasks_testing"))])
    _run([qtasks, "new-plugin", "mine", "--kind", "broker"], cwd=tmp_path)
    _run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "dist", tmp_path / "qtasks-mine"])
    _run([*pip, "install", "--quiet", "--no-index", *(tmp_path / "dist").glob("*.whl")])
    shutil.rmtree(tmp_path / "qtasks-mine")
    (tmp_path / "app.py").write_text(APP_OF_A_NEW_BROKER, encoding="utf-8")

    assert _run([python, "app.py"], cwd=tmp_path) == "3\n"
    schemes = json.loads(_run([qtasks, "plugins", "--json"], cwd=tmp_path))["schemes"]
    (mine,) = [(one["part"], one["distribution"], one["state"]) for one in schemes if one["name"] == "mine"]
    assert mine == ("broker", "qtasks-mine", "available")


KIT_ON_A_BACKEND = """
import pytest

from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_testing.kit import GlobalConfigSuite, QueuesSuite, SenderSuite, StreamsSuite, Subject


@pytest.fixture
def subject():
    return Subject("memory://", MemoryBroker, MemoryStorage, MemoryGlobalConfig, movable_clock=True)


class TestSender(SenderSuite): ...
class TestStreams(StreamsSuite): ...
class TestGlobalConfig(GlobalConfigSuite): ...
class TestQueues(QueuesSuite): ...
"""


def test_the_kit_needs_nothing_but_the_core(wheels: dict[str, Path], tmp_path: Path) -> None:
    """Who writes a backend installs the core and the kit, and subclasses its suites."""
    python = tmp_path / "fresh/bin/python"
    _run([sys.executable, "-m", "venv", tmp_path / "fresh"])
    _run([python, "-m", "pip", "install", "--quiet", *(wheels[name] for name in ("qtasks_core", "qtasks_testing"))])
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_backend.py").write_text(KIT_ON_A_BACKEND, encoding="utf-8")

    told = _run([python, "-m", "pytest", "-q", "tests"], cwd=tmp_path)

    assert re.search(r"^\d+ passed, \d+ skipped in ", told, re.MULTILINE), told
    assert "qtasks kit: skipped 1 of TestGlobalConfig: the subject does not offer data that outlives" in told
