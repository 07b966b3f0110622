"""Commands of other packages: in the overview, imported when they run, and harmless when broken."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from discovery.site import Site
from qtasks_core.cli.group import COMMANDS, qtasks

COMMAND = """
import click

@click.command()
@click.option("--loud", is_flag=True)
@click.pass_obj
def hello(ref, loud):
    "Say hello."
    click.echo(f"hello from {ref}" + "!" * loud)
"""
BROKEN = {
    "raises": ("1 / 0", " cannot be loaded: ZeroDivisionError('division by zero')"),
    "is no command": ("def hello(): ...", ": expected a click command, got <function hello at "),
    "is not there": ("", " cannot be loaded: AttributeError("),
    "exits": ("raise SystemExit(0)", " cannot be loaded: SystemExit(0)"),
}


def invoke(*args: str) -> Result:
    return CliRunner().invoke(qtasks, args)


def lines_of(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.output.splitlines()]


def test_a_command_of_another_package_runs(site: Site) -> None:
    """With its options; it is told which app `-A` names."""
    site.install("fake-one", COMMAND, "qtasks.commands: hello = hello")
    result = invoke("-A", "shop:app", "hello", "--loud")

    assert (0, "hello from shop:app!\n") == (result.exit_code, result.output)
    assert "Say hello." in invoke("hello", "--help").output


def test_the_overview_says_whose_it_is_and_imports_nothing(site: Site) -> None:
    """The summary is the package's, so that a slow or broken module does not matter."""
    site.install("fake-one", "1 / 0", "qtasks.commands: hello = hello", metadata="Summary: Says hello\n to all.\n")
    site.install("fake-two", "1 / 0", "qtasks.commands: mute = mute")
    result = invoke("--help")

    assert 0 == result.exit_code
    lines = lines_of(result)
    assert "hello (fake-one 2.5) Says hello to all." in lines
    assert "mute (fake-two 2.5)" in lines
    assert all(name in result.output for name in COMMANDS)


@pytest.mark.parametrize(("code", "reason"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("arguments", [(), ("--help",), ("--some", "thing")], ids=" ".join)
def test_a_broken_one_says_so_when_it_runs(site: Site, code: str, reason: str, arguments: tuple[str, ...]) -> None:
    """Exit code 2, whatever it is given; distribution, version, entry point and reason; no traceback."""
    site.install("fake-one", code, "qtasks.commands: hello = hello")
    result = invoke("hello", *arguments)

    assert 2 == result.exit_code
    assert f"Error: command hello (fake-one 2.5, entry point fake_one:hello){reason}" in result.output
    assert "Traceback" not in result.output


def test_two_of_one_name_are_an_error_when_it_runs(site: Site) -> None:
    """Both are in the overview, in one line."""
    site.install("fake-one", COMMAND, "qtasks.commands: hello = hello")
    site.install("fake-two", COMMAND, "qtasks.commands: hello = hello")
    result = invoke("hello")

    assert "hello (fake-one 2.5 and fake-two 2.5)" in lines_of(invoke("--help"))
    assert 2 == result.exit_code
    text = "command hello: more than one distribution brings it: fake-one 2.5, fake-two 2.5; uninstall one"
    assert f"Error: {text}\n" == result.output


def test_a_built_in_command_cannot_be_shadowed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """It stays what it is, and whoever asks for the overview is warned."""
    site.install("fake-one", COMMAND, "qtasks.commands: version = hello")

    assert "qtasks-core 0." in invoke("version").output
    assert 0 == invoke("--help").exit_code
    (record,) = caplog.records
    where = "command version (fake-one 2.5, entry point fake_one:hello)"
    assert f"{where}: a built-in command has that name; it cannot be run" == record.message
    assert "WARNING" == record.levelname


def test_a_mistyped_one_gets_the_nearest_name(site: Site) -> None:
    """Commands of other packages are names like others."""
    site.install("fake-one", COMMAND, "qtasks.commands: hello = hello")

    assert "No such command 'helo'. Did you mean 'hello'?" in invoke("helo").output


def test_a_shell_completes_names_also_of_broken_ones(site: Site) -> None:
    """Completion looks at every command, and none may end it."""
    site.install("fake-one", "1 / 0", "qtasks.commands: hello = hello")
    found = ShellComplete(qtasks, {}, "qtasks", "_QTASKS_COMPLETE").get_completions([], "he")

    assert ["hello"] == [one.value for one in found]
    assert (found[0].help or "").startswith("Broken: command hello (fake-one 2.5")
