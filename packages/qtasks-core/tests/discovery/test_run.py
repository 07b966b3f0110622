"""Real processes among broken distributions: `qtasks run` works, the list tells each, strict raises."""

from __future__ import annotations

import json

import pytest

from discovery.site import Site
from qtasks_core.discovery import ambient

APP = """
from qtasks_core.aio import QueueTasks

app = QueueTasks("shop", "{url}")

@app.task
async def noop() -> None:
    print("the task ran", flush=True)

@app.events.on.starting
async def add_one() -> None:
    await noop.add_task()
"""
GOOD = """
from qtasks_core.plugins import hookimpl

class Plugin:
    qtasks_api = 1

    @hookimpl
    def worker_start(self, worker):
        print("the plugin saw", worker.name, flush=True)
"""
PART = """
class Part:
    qtasks_api = 1
"""
RUN = "run", "--max-tasks", "1", "--worker-name", "w", "--no-color"
DONE = 75  # it has done enough
MISCONFIGURED = 2


@pytest.fixture
def broken(site: Site) -> Site:
    """Install a plugin that works among all that can be wrong."""
    site.install("fake-good", GOOD, "qtasks: good = Plugin")
    site.install("fake-raises", "1 / 0", "qtasks: raises = ", "qtasks.brokers: raises = Part")
    site.install("fake-type", "Part = 7", "qtasks: type = Part", "qtasks.commands: type = Part")
    site.install("fake-api", "class Part: qtasks_api = 9", "qtasks: api = Part", "qtasks.brokers: api = Part")
    site.install("fake-one", PART, "qtasks.brokers: one = Part")
    site.install("fake-two", PART, "qtasks.brokers: one = Part")
    write_app(site, "memory://")
    return site


def write_app(site: Site, url: str) -> None:
    (site.folder / "shop.py").write_text(APP.format(url=url), encoding="utf-8")


def test_a_worker_runs_among_broken_distributions(broken: Site) -> None:
    """The plugin that works is called, each that does not is one line on stderr, and schemes are nobody's business."""
    done = broken.run("-A", "shop", *RUN)

    assert ["the plugin saw w", "the task ran"] == done.stdout.splitlines()
    assert DONE == done.returncode, done.stderr
    for name in ("raises", "type", "api"):
        assert 1 == done.stderr.count(f"plugin {name} (fake-{name} 2.5, entry point fake_{name}")
    assert "good" not in done.stderr
    assert "fake-one" not in done.stderr


def test_the_list_tells_each_with_its_reason(broken: Site) -> None:
    """In a process of its own, exit code 0."""
    done = broken.run("plugins", "--json")
    found = json.loads(done.stdout)
    states = {
        (one["part"] or kind, one["name"]): (one["state"], one["reason"].partition(":")[0])
        for kind in ("schemes", "plugins", "commands")
        for one in found[kind]
        if one["distribution"].startswith("fake-")
    }

    assert (0, "") == (done.returncode, done.stderr)
    assert {
        ("plugins", "good"): ("loaded", ""),
        ("plugins", "raises"): ("broken", "cannot be loaded"),
        ("plugins", "type"): ("broken", f"expected {ambient.EXPECTED}, got 7"),
        ("plugins", "api"): ("broken", "expected qtasks_api 1, got 9; install releases that fit together"),
        ("broker", "raises"): ("broken", "cannot be loaded"),
        ("broker", "api"): ("broken", "expected qtasks_api 1, got 9; install releases that fit together"),
        ("broker", "one"): ("broken", "broker for one"),
        ("commands", "type"): ("broken", "expected a click command, got 7"),
    } == states


def test_strict_stops_the_worker_before_it_starts(broken: Site) -> None:
    """With exit code 2, so that no supervisor tries again, and the error of the first one."""
    done = broken.run("-A", "shop", *RUN, QTASKS_PLUGINS_STRICT="1")

    assert (MISCONFIGURED, "") == (done.returncode, done.stdout)
    assert "plugin api (fake-api 2.5, entry point fake_api:Part): expected qtasks_api 1, got 9" in done.stderr


def test_without_plugins_a_worker_runs_in_silence(broken: Site) -> None:
    """QTASKS_DISABLE_PLUGINS=* is the way out when a plugin is in the way."""
    done = broken.run("-A", "shop", *RUN, QTASKS_DISABLE_PLUGINS="*")

    assert (DONE, "the task ran\n") == (done.returncode, done.stdout)
    assert "fake-" not in done.stderr


def test_a_scheme_with_two_distributions_is_an_error_when_it_is_asked_for(broken: Site) -> None:
    """Both are named."""
    write_app(broken, "one://")
    done = broken.run("-A", "shop", *RUN)

    assert MISCONFIGURED == done.returncode
    text = "broker for one://: more than one distribution serves it: fake-one 2.5, fake-two 2.5; uninstall one"
    assert text in done.stderr


def test_a_scheme_that_raises_is_an_error_with_its_cause(broken: Site) -> None:
    """Distribution, version, entry point."""
    write_app(broken, "raises://")
    done = broken.run("-A", "shop", *RUN)

    assert MISCONFIGURED == done.returncode
    text = "broker for raises:// (fake-raises 2.5, entry point fake_raises:Part) cannot be loaded: ZeroDivisionError"
    assert text in done.stderr
