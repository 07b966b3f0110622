"""`qtasks plugins`: all that is installed and whether it works; nothing that is broken makes it fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from discovery.site import Site
from qtasks_core.cli.group import qtasks

PLUGIN = """
class Plugin:
    def worker_start(self, worker): ...
"""
PART = """
class Part:
    qtasks_api = 1
"""
COMMAND = """
import click

@click.command()
def hello(): ...
"""


def invoke(*args: str) -> Result:
    return CliRunner().invoke(qtasks, ["plugins", *args])


def survey(*args: str) -> Any:
    result = invoke("--json", *args)
    assert 0 == result.exit_code
    return json.loads(result.stdout)


def rows(kind: str) -> list[tuple[str, str, str]]:
    return [
        (one["name"], one["state"], one["reason"]) for one in survey()[kind] if one["distribution"].startswith("fake-")
    ]


def test_what_works_is_listed_with_where_it_is_from(site: Site) -> None:
    """Schemes by part, plugins, commands: distribution, version, entry point and state."""
    points = "qtasks.brokers: one.tls = Part", "qtasks: one = Plugin", "qtasks.commands: hello = hello"
    site.install("fake-one", f"{PLUGIN}{PART}{COMMAND}", *points)
    found = survey()
    common = {"distribution": "fake-one", "version": "2.5", "reason": ""}

    scheme = {"name": "one+tls", "part": "broker", "entry_point": "fake_one:Part", "state": "available"}
    assert [scheme | common] == [one for one in found["schemes"] if one["distribution"] == "fake-one"]
    plugin = {"name": "one", "part": None, "entry_point": "fake_one:Plugin", "state": "loaded"}
    assert [plugin | common] == [one for one in found["plugins"] if one["distribution"] == "fake-one"]
    command = {"name": "hello", "part": None, "entry_point": "fake_one:hello", "state": "available"}
    assert [command | common] == [one for one in found["commands"] if one["distribution"] == "fake-one"]
    assert [] == found["missing"]
    assert [("memory", "broker"), ("memory", "storage"), ("memory", "global_config")] == [
        (one["name"], one["part"]) for one in found["schemes"] if one["distribution"] == "qtasks-core"
    ]


def test_what_is_broken_is_listed_with_its_reason(site: Site) -> None:
    """Each kind of broken, of each kind of thing; exit code 0."""
    site.install("fake-raises", "1 / 0", "qtasks: raises = ", "qtasks.brokers: raises = Part")
    site.install("fake-type", "Part = 7", "qtasks: type = Part", "qtasks.storages: type = Part")
    site.install("fake-api", "class Part: qtasks_api = 9", "qtasks: api = Part", "qtasks.brokers: api = Part")
    site.install("fake-two-a", f"{PART}{COMMAND}", "qtasks.brokers: two = Part", "qtasks.commands: two = hello")
    site.install("fake-two-b", f"{PART}{COMMAND}", "qtasks.brokers: two = Part", "qtasks.commands: run = hello")
    two = "broker for two://: more than one distribution serves it: fake-two-a 2.5, fake-two-b 2.5; uninstall one"
    api = "expected qtasks_api 1, got 9; install releases that fit together"

    assert [
        ("api", "broken", api),
        ("raises", "broken", "cannot be loaded: ZeroDivisionError('division by zero')"),
        ("two", "broken", two),
        ("two", "broken", two),
        ("type", "broken", "expected a class, got 7"),
    ] == rows("schemes")
    (of_api, of_raises, of_type) = rows("plugins")
    assert ("api", "broken", api) == of_api
    assert ("raises", "broken", "cannot be loaded: ZeroDivisionError('division by zero')") == of_raises
    assert of_type[2].startswith("expected an object or a class with methods named after triggers")
    assert [("run", "broken", "a built-in command has that name"), ("two", "available", "")] == rows("commands")


def test_what_is_blocked_is_not_imported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which variable; strict or not makes no difference to the list, nor does a wrong value."""
    site.install("fake-one", PLUGIN, "qtasks: one = Plugin")
    site.install("fake-two", "1 / 0", "qtasks: two = ")
    monkeypatch.setenv("QTASKS_PLUGINS_STRICT", "perhaps")
    monkeypatch.setenv("QTASKS_DISABLE_PLUGINS", "two")
    assert [("one", "loaded", ""), ("two", "blocked", "by QTASKS_DISABLE_PLUGINS")] == rows("plugins")
    monkeypatch.delenv("QTASKS_DISABLE_PLUGINS")
    monkeypatch.setenv("QTASKS_PLUGINS", "one")

    assert [("one", "loaded", ""), ("two", "blocked", "by QTASKS_PLUGINS")] == rows("plugins")


def test_what_is_asked_for_and_missing_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list does not fail where an app would."""
    monkeypatch.setenv("QTASKS_PLUGINS", "gone")

    assert ["gone"] == survey()["missing"]
    assert "QTASKS_PLUGINS names 'gone', which no installed package brings." in invoke().stdout
    assert 1 == invoke("--strict").exit_code


def test_the_table_has_a_line_for_each(site: Site) -> None:
    """Where nobody looks a row is one line, so that it can be searched."""
    site.install("fake-one", PLUGIN, "qtasks: one = Plugin")
    points = "qtasks.global_configs: two = Part", "qtasks.commands: two = two"
    site.install("fake-two", "raise ValueError('[red]no')", *points)
    result = invoke()
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]

    assert 0 == result.exit_code
    assert "Schemes Package Entry point State" in lines
    said = "broken: cannot be loaded: ValueError('[red]no')"
    assert f"two:// global config fake-two 2.5 fake_two:Part {said}" in lines
    assert "one fake-one 2.5 fake_one:Plugin loaded" in lines
    assert f"two fake-two 2.5 fake_two:two {said}" in lines


def test_without_plugins_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of which there is none is no empty table."""
    monkeypatch.setattr("qtasks_core.discovery.survey.entries", lambda group: [])

    assert "Schemes: none\n\nPlugins: none\n\nCommands: none\n" == invoke().stdout


def test_strict_ends_with_1_where_something_is_broken(site: Site) -> None:
    """For CI; it lists the same."""
    assert 0 == invoke("--strict").exit_code
    site.install("fake-one", "1 / 0", "qtasks.commands: hello = hello")
    result = invoke("--strict")

    assert 1 == result.exit_code
    assert "broken: cannot be loaded" in result.stdout


def test_what_plugins_print_is_not_in_the_way_of_json(site: Site) -> None:
    """It goes to stderr."""
    site.install("fake-one", f"print('noise')\n{PLUGIN}", "qtasks: one = Plugin")
    done = site.run("plugins", "--json")

    states = {row["name"]: row["state"] for row in json.loads(done.stdout)["plugins"]}
    assert "loaded" == states["one"]
    assert (0, "noise\n") == (done.returncode, done.stderr)
