"""`qtasks new-plugin`: what it writes works as it is written, and what it cannot write it says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from packaging.requirements import Requirement

from qtasks_testing.new_plugin import new_plugin

ROOT = Path(__file__).parents[3]
KINDS = ("broker", "storage", "plugin", "command")
LONGEST = "a-name-of-thirty-characters-30"

each_kind = pytest.mark.parametrize("kind", KINDS)


def ask(*args: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(new_plugin, [str(one) for one in args])


def generate(folder: Path, kind: str, name: str = "my-own") -> Path:
    """Write a distribution into a new folder and return that."""
    result = ask(name, "--kind", kind, "--directory", folder)
    assert result.exit_code == 0, result.output
    return folder


def install(folder: Path) -> dict[str, str]:
    """Make a distribution look installed to who gets the environment that is returned."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / "src" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("QTASKS_", "PYTEST_"))}
    return {**clean, "PYTHONPATH": str(folder / "src"), "QTASKS_PLUGINS_STRICT": "1"}


def run(folder: Path, *args: object, env: dict[str, str] | None = None) -> str:
    """Run a Python module in a folder; return what it printed."""
    command = [sys.executable, "-m", *(str(one) for one in args)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


# ---------------------------------------------------------------- what is written


@pytest.mark.once
@pytest.mark.timeout(300)
@each_kind
def test_what_is_written_passes_its_tests(kind: str, tmp_path: Path) -> None:
    """As it is, once it is installed; with every warning an error, as it says itself."""
    folder = generate(tmp_path / "new", kind)

    printed = run(folder, "pytest", "-p", "no:cacheprovider", env=install(folder))

    assert re.search(r"\d+ passed", printed)


@each_kind
@pytest.mark.parametrize("name", ["x", "my-own", LONGEST])
def test_what_is_written_has_the_style_that_it_asks_for(kind: str, name: str, tmp_path: Path) -> None:
    """Rules and format hold whatever the length of the name."""
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    folder = generate(tmp_path / "new", kind, name)

    run(folder, "ruff", "check", "--no-cache", ".")
    run(folder, "ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.timeout(300)
def test_what_is_written_is_fully_typed(tmp_path: Path) -> None:
    """Strictly, also the tests."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    for kind in KINDS:
        folder = generate(tmp_path / kind, kind)
        env = {**os.environ, "MYPYPATH": str(folder / "src")}
        run(folder, "mypy", "--cache-dir", tmp_path / "cache", env=env)


@each_kind
def test_nothing_of_the_template_is_left(kind: str, tmp_path: Path) -> None:
    """Each placeholder has become something, in texts and in paths."""
    folder = generate(tmp_path / "new", kind)

    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"LICENSE", "README.md", "pyproject.toml", ".gitignore", "ci.yml", "py.typed"} <= {
        path.name for path in files
    }
    assert [] == [path for path in files if re.search(r"@[A-Z]+@", path.read_text(encoding="utf-8"))]
    assert [] == [path for path in files if path.name.endswith("-tpl") or "NAME" in str(path.relative_to(folder))]


@each_kind
def test_it_wants_the_core_that_wrote_it(kind: str, tmp_path: Path) -> None:
    """From this version up to the next major one."""
    project = tomllib.loads((generate(tmp_path / "new", kind) / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]

    wanted = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    assert version("qtasks-core") in wanted["qtasks-core"]
    assert "999.0" not in wanted["qtasks-core"]


def test_a_class_does_not_say_its_kind_twice(tmp_path: Path) -> None:
    """A broker that is named my-broker is the class MyBroker."""
    folder = generate(tmp_path / "new", "broker", "my-broker")

    assert "class MyBroker:" in (folder / "src/qtasks_my_broker/broker.py").read_text(encoding="utf-8")


def test_the_folder_at_the_root_is_the_template(tmp_path: Path) -> None:
    """Its files are data of the package, which its wheel carries; none of them runs where it lies."""
    assert (ROOT / "template").resolve() == ROOT / "packages/qtasks-testing/src/qtasks_testing/new_plugin/template"
    files = [path for path in (ROOT / "template").resolve().rglob("*") if path.is_file()]
    assert files
    assert [] == [path for path in files if not path.name.endswith("-tpl")]


# ---------------------------------------------------------------- what the command says


def test_it_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three commands, as they are to be typed."""
    monkeypatch.chdir(tmp_path)

    result = ask("my-own", "--kind", "plugin")

    assert (tmp_path / "qtasks-my-own/pyproject.toml").is_file()
    assert result.output.splitlines() == [
        "qtasks-my-own: 9 files of a plugin in qtasks-my-own",
        "Next:",
        "  cd qtasks-my-own",
        '  python -m pip install --editable ".[test,lint]"',
        "  pytest",
    ]


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("My_Own", "my-own"),
        ("MyOwn", "my-own"),
        ("qtasks-own", "own"),
        ("2own", "own"),
        ("own-", "own"),
        ("a--b", "a-b"),
        ("../own", "own"),
        ("own@home", "own-home"),
        ("ärger", "rger"),
        ("-", "my-dir"),
        ("x" * 31, "x" * 30),
    ],
)
def test_a_name_of_another_form_is_refused(name: str, suggested: str, tmp_path: Path) -> None:
    """With the form that is expected, and a name that has it; nothing is written."""
    result = ask("--kind", "broker", "--directory", tmp_path / "new", "--", name)

    assert result.exit_code == 2
    assert f"such as '{suggested}'" in " ".join(result.output.split())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("redis", "broker", "qtasks-redis is a distribution of QTasks itself"),
        ("memory", "broker", "the broker 'memory' is there already"),
        ("new-plugin", "command", "the command 'new-plugin' is there already"),
        ("run", "command", "the command 'run' is there already"),
    ],
)
def test_a_name_that_is_taken_is_refused(name: str, kind: str, problem: str, tmp_path: Path) -> None:
    """What two distributions serve, nobody can use."""
    result = ask(name, "--kind", kind, "--directory", tmp_path / "new")

    assert result.exit_code == 2
    assert problem in " ".join(result.output.split())
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    """Nothing of yours is overwritten; an empty folder is as good as none."""
    (tmp_path / "new").mkdir()
    generate(tmp_path / "new", "broker")
    before = (tmp_path / "new/README.md").read_text(encoding="utf-8")

    result = ask("my-own", "--kind", "storage", "--directory", tmp_path / "new")

    assert result.exit_code == 1
    assert "is there already, and not an empty folder" in " ".join(result.output.split())
    assert (tmp_path / "new/README.md").read_text(encoding="utf-8") == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """It stays as it is."""
    (tmp_path / "new").write_text("mine", encoding="utf-8")

    assert ask("my-own", "--kind", "broker", "--directory", tmp_path / "new").exit_code == 1
    assert (tmp_path / "new").read_text(encoding="utf-8") == "mine"
