"""From docs/promises.toml to docs/promises.md: what is promised, and the tests that prove it.

`python tests/promises/table.py` writes the page; test_table.py compares it.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "docs" / "promises.toml"
PAGE = ROOT / "docs" / "promises.md"
FOLDERS = {
    "kit": "packages/qtasks-testing/src/qtasks_testing/kit",
    "core": "packages/qtasks-core/tests",
    "qtasks": "packages/qtasks/tests",
    "tests": "tests",
}
HEAD = """\
# Promises

What QTasks promises, and the tests that prove it, with real processes that are killed, paused, stopped. At-least-once
is the promise everywhere; a task is the same task when its uuid and its attempt are the same. A test of the *kit* is
passed by every backend; those of this project run it against each of theirs. This page is made of
[promises.toml](promises.toml), and a promise without a test fails the build.
"""
TABLE = "| event | what happens | shown by |\n| --- | --- | --- |"


class Promise(NamedTuple):
    """An event, what happens then, and the tests that show it."""

    section: str
    event: str
    promise: str
    tests: list[str]


def promises() -> list[Promise]:
    """Return what docs/promises.toml says."""
    with SOURCE.open("rb") as file:
        return [Promise(**one) for one in tomllib.load(file)["promise"]]


def module_of(test: str) -> Path:
    """Return where a test is, from the root."""
    folder, _, module = test.partition("::")[0].partition("/")
    return Path(FOLDERS.get(folder, f"packages/qtasks-{folder}/tests")) / f"{module}.py"


def is_there(test: str) -> bool:
    """Tell whether a test of that name exists, as a function or as a method."""
    path = ROOT / module_of(test)
    return path.is_file() and test.partition("::")[2] in set(_functions(path))


def page() -> str:
    """Return docs/promises.md."""
    sections: dict[str, list[str]] = {}
    for one in promises():
        row = f"| {one.event} | {one.promise} | {'<br>'.join(map(_link, one.tests))} |"
        sections.setdefault(one.section, []).append(row)
    tables = [f"## {name}\n\n{TABLE}\n" + "\n".join(rows) + "\n" for name, rows in sections.items()]
    return "\n".join([HEAD, *tables])


def _link(test: str) -> str:
    module, _, name = test.partition("::")
    words = name.removeprefix("test_").replace("_", " ")
    return f"[{words}](../{module_of(test).as_posix()}) ({module.partition('/')[0]})"


def _functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
