"""The example `webapp`: a worker in the lifespan of a web application, with FastAPI and without a framework."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from qtasks.testing import memory_app

if TYPE_CHECKING:
    from pathlib import Path

STORY = r"""POST /welcome/Ada: 202 {'task': '(\S+)'}
GET /tasks/\1: 200 {'status': 'success', 'result': 'Welcome, Ada!'}
POST /welcome/Bob: 202 {'task': '(\S+)'}
GET /tasks/\2: 200 {'status': '(new|process)', 'result': None}
shutting down
success: Welcome, Bob!
"""


@pytest.fixture(params=["asgi_app", "fastapi_app"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "fastapi_app":
        pytest.importorskip("fastapi", reason="the example needs FastAPI; asgi_app is the same without it")
    return str(request.param)


def test_a_life_of_the_application(root: Path, tmp_path: Path, name: str) -> None:
    """Tasks run between startup and shutdown, what runs at the shutdown is finished; there is no warning."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "webapp", name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root / "examples")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert re.fullmatch(STORY, done.stdout), done.stdout


async def test_its_tasks_are_tested_in_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """As a user would: the app in memory, requests to the application, its worker by its lifespan."""
    monkeypatch.syspath_prepend(root / "examples")
    monkeypatch.chdir(tmp_path)
    app: Any = importlib.import_module("webapp.tasks").app
    server: Any = importlib.import_module("webapp.server")
    web: Any = importlib.import_module(f"webapp.{name}").web
    async with memory_app(app) as memory:
        _, answer = await server.request(web, "POST", "/welcome/Ada")
        assert [answer["task"]] == [str(task.uuid) for task in memory.waiting()]
        async with server.serving(web):
            task = await (await app.get(UUID(answer["task"]))).wait(timeout=10)
            status, found = await server.request(web, "GET", f"/tasks/{'0' * 8}-0000-7000-8000-{'0' * 12}")
        assert (404, True) == (status, "nothing is known" in found["detail"])
        assert ("success", []) == (task.status, memory.waiting())
    assert [] == list(tmp_path.glob("*.db"))


async def test_a_startup_that_fails_is_told(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The server hears of it, and nothing of the worker is left."""
    monkeypatch.syspath_prepend(root / "examples")
    app: Any = importlib.import_module("webapp.tasks").app
    server: Any = importlib.import_module("webapp.server")
    web: Any = importlib.import_module(f"webapp.{name}").web

    def broken(**_: object) -> None:
        raise ZeroDivisionError("no worker today")

    monkeypatch.setattr(type(app), "worker", broken)
    with pytest.raises(RuntimeError, match=r"startup|no worker today"):
        async with server.serving(web):
            raise AssertionError("the application serves")
