"""Routers and shared tasks in whole programs: a library, a router's module and an app's, on memory and on a file."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MODULES = {
    "library.py": """
        from qtasks import shared_task

        @shared_task(name="library.ping")
        def ping(text: str) -> str:
            return f"<{text}>"
        """,
    "mail.py": """
        from qtasks import Router, TaskContext
        from qtasks.executors import ProcessTaskExecutor

        router = Router("mail", retry=1)

        @router.task(echo=True)
        def send(self: TaskContext, to: str) -> str:
            return f"{self.task_name} to {to}"

        @router.task(executor=ProcessTaskExecutor, generate_handler=str)
        def letters(word: str):
            yield from word

        @router.task
        def forward(to: str) -> str:
            return str(send.add_task(to).uuid)
        """,
    "app.py": """
        import sys
        from qtasks import QueueTasks
        import library, mail

        app = QueueTasks("routed", sys.argv[1])
        app.include_router(mail.router, prefix="v2")

        if __name__ == "__main__":
            with app.worker():
                print(mail.send.add_task("me").result(timeout=10))
                print(mail.letters.add_task("abc").result(timeout=20))
                print(library.ping.add_task("x").result(timeout=10))
                print(type(mail.forward.add_task("you").result(timeout=10)).__name__)
                print(", ".join(app.tasks))
            app.stop()
        """,
}


@pytest.mark.parametrize("url", ["memory://", "sqlite:///queue.db"])
def test_a_program_of_several_modules(tmp_path: Path, url: str) -> None:
    """A module knows its router and the library only; a process of a pool imports it without the app."""
    for name, text in MODULES.items():
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
    command = [sys.executable, "-W", "error", "app.py", url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=55, check=False)

    assert ("", 0) == (done.stderr, done.returncode)
    assert [
        "v2.mail.send to me",
        "['a', 'b', 'c']",
        "<x>",
        "str",
        "library.ping, v2.mail.send, v2.mail.letters, v2.mail.forward",
    ] == done.stdout.splitlines()
