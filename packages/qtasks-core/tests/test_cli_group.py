"""The command group: help, unknown commands, `version`, and what is imported when."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner, Result

from qtasks_core.cli.group import COMMANDS, LazyCommand, qtasks

DEADLINE_S = 20.0


def invoke(*args: str) -> Result:
    return CliRunner().invoke(qtasks, args)


def modules_after(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after *statement*."""
    code = f"import json, sys\ntry:\n    {statement}\nexcept SystemExit: pass\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=DEADLINE_S)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_lists_every_command_with_its_summary() -> None:
    """`qtasks --help` shows name and summary of each command, and how to name an app."""
    result = invoke("--help")
    assert result.exit_code == 0
    lines = [line.split(maxsplit=1) for line in result.output.split("Commands:\n")[1].splitlines() if line.strip()]
    shown = {line[0]: line[1] for line in lines if line[0] in COMMANDS}  # there may be others, of other packages
    assert shown == {name: command.summary for name, command in COMMANDS.items()}
    assert "-A, --app MODULE:ATTRIBUTE" in result.output
    assert "QTASKS_APP" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded_and_has_help(name: str) -> None:
    """`qtasks COMMAND --help` works without an app."""
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: qtasks {name}")


def test_a_mistyped_command_gets_the_nearest_name() -> None:
    """An unknown command is a usage error with a hint."""
    result = invoke("-A", "app", "rum")
    assert result.exit_code == 2
    assert "No such command 'rum'. Did you mean 'run'?" in result.output


def test_a_command_that_is_like_none_gets_no_hint() -> None:
    """Where nothing is near, nothing is suggested."""
    result = invoke("frobnicate")
    assert result.exit_code == 2
    assert "Did you mean" not in result.output


def test_no_command_shows_the_help() -> None:
    """`qtasks` alone is a usage error that shows what there is."""
    result = invoke()
    assert result.exit_code == 2
    assert "Commands:" in result.output


def test_a_lazy_command_must_be_a_click_command() -> None:
    """What is found under a command's name is checked when it is loaded."""
    with pytest.raises(TypeError, match=r"json:dumps is no click command but function"):
        LazyCommand("json", "dumps", "").load()


def test_version_names_what_is_installed() -> None:
    """`qtasks version`: each distribution of the project, then the contract and the wire, then the Python."""
    lines = invoke("version").output.splitlines()
    assert f"qtasks-core {version('qtasks-core')}" in lines
    assert lines[-2] == "qtasks_api 1, wire version 1.0"
    assert lines[-1].startswith(f"Python {sys.version_info.major}.{sys.version_info.minor}")


def test_help_imports_no_command_and_no_engine() -> None:
    """The overview comes from a table: neither commands nor engine nor rich are loaded for it."""
    loaded = modules_after("from qtasks_core.cli import main; main(['--help'])")
    assert "click" in loaded
    unwanted = {"rich", "asyncio", "qtasks_core.app", *(command.module for command in COMMANDS.values())}
    assert loaded & unwanted == set()


@pytest.mark.parametrize("module", ["qtasks_core", "qtasks_core.app", "qtasks_core.cli", "qtasks_core.supervisor"])
def test_importing_the_core_loads_neither_click_nor_rich(module: str) -> None:
    """Only those who use the command line pay for it."""
    assert modules_after(f"import {module}") & {"click", "rich"} == set()


def test_the_core_can_be_run_as_a_module() -> None:
    """`python -m qtasks_core` is the same command line, and names itself so."""
    command = [sys.executable, "-m", "qtasks_core", "--help"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=DEADLINE_S)
    assert done.stdout.startswith("Usage: python -m qtasks_core")


def test_a_command_of_a_package_that_is_missing_gets_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is merely spelled like it is suggested."""
    monkeypatch.setattr("qtasks_core.cli.group.commands", lambda _: {})
    result = invoke("new-plugin", "mine")
    assert result.exit_code == 2
    assert 'needs a package that is not installed: pip install "qtasks[testing]"' in " ".join(result.output.split())
    assert "Did you mean" not in result.output
