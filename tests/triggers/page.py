"""From the declarations of the triggers to docs/triggers.md, with the tests that fire each one.

`python tests/triggers/page.py` writes the page; test_page.py compares it. A test says which triggers it fires by
`@pytest.mark.fires("name", …)`.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qtasks_core import hookspecs

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "triggers.md"
TESTS = Path(__file__).parent
COMPONENTS = ("qtasks", "broker", "storage", "global_config", "worker", "task_executor", "starter", "stats")
FIRST = (
    "qtasks_configure",
    "qtasks_register_task",
    "qtasks_register_injector",
    "qtasks_add_task_before_broker",
    "qtasks_add_task_after_broker",
    "worker_start",
    "worker_stop",
    "worker_execute_before",
    "worker_run_task_before",
    "task_executor_args_replace",
    "task_executor_run_task",
    "task_executor_run_task_gen",
    "task_executor_run_task_trigger_error",
    "task_executor_after_execute_result_replace",
    "task_executor_task_close",
    "worker_task_error_retry",
    "worker_remove_finished_task",
    "worker_execute_after",
    "worker_outcome",
    "storage_remove_finished_task",
    "qtasks_get",
)
"""Those that authors of plugins need first, in the order of a task's life."""
TABLE = "| trigger | arguments | kind | hot | called when | since |\n| --- | --- | --- | --- | --- | --- |"


class Trigger(NamedTuple):
    """A trigger as it is declared."""

    name: str
    arguments: list[str]
    when: str
    kind: str
    is_hot: bool
    more: str
    since: str
    tests: list[str]


def triggers() -> list[Trigger]:
    """Return all triggers, component by component, each in the order of its declaration."""
    fired = firing()
    names = sorted(hookspecs.__all__, key=lambda name: (COMPONENTS.index(component(name)), _place(name)))
    return [_trigger(name, fired.get(name, [])) for name in names]


def component(name: str) -> str:
    """Return whose trigger it is."""
    return next(one for one in COMPONENTS if name.startswith(f"{one}_"))


def firing() -> dict[str, list[str]]:
    """Return the tests that fire each trigger, as MODULE::TEST."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.glob("test_*.py")):
        for test, names in _marked(path):
            for name in names:
                found.setdefault(name, []).append(f"{path.name}::{test}")
    return found


def page() -> str:
    """Return docs/triggers.md."""
    found = {one.name: one for one in triggers()}
    parts = [HEAD, FIRST_HEAD, *(_section(found[name]) for name in FIRST), REST_HEAD]
    for part in COMPONENTS:
        rows = [_row(one) for one in found.values() if component(one.name) == part and one.name not in FIRST]
        if rows:
            parts += [f"### {part}\n", TABLE, *rows, ""]
    return "\n".join(parts).rstrip() + "\n"


def _trigger(name: str, fired: list[str]) -> Trigger:
    function = getattr(hookspecs, name)
    when, _, rest = inspect.cleandoc(function.__doc__).partition("\n\n")
    kind, hot, more, since = _parts(" ".join(rest.split()))
    more = more.replace("The result is ignored; one", "One").replace("The result is ignored.", "").strip()
    arguments = list(inspect.signature(function).parameters)
    return Trigger(name, arguments, " ".join(when.split()), kind, hot == "Hot", more, since, fired)


def _parts(rest: str) -> tuple[str, str, str, str]:
    """Split what stands below the first sentence: kind, heat, what else is to be said, since when."""
    found = re.fullmatch(r"(Notifies|Replaces .+?)\. (Hot|Not hot)\. (.*?)\s*Since (\d+\.\d+)\.", rest)
    if found is None:
        raise ValueError(f"expected 'KIND. HEAT. MORE. Since VERSION.', got {rest!r}")
    kind, hot, more, since = found.groups()
    return kind, hot, more, since


def _place(name: str) -> int:
    return inspect.getsourcelines(getattr(hookspecs, name))[1]


def _marked(path: Path) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, [name for one in node.decorator_list for name in _fires(one)]


def _fires(decorator: ast.expr) -> list[str]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fires":
        return [ast.literal_eval(one) for one in decorator.args]
    return []


def _section(one: Trigger) -> str:
    given = ", ".join(f"*{name}*" for name in one.arguments)
    heat = "hot" if one.is_hot else "not hot"
    called = _called(one)
    shown = ", ".join(f"[{test.partition('::')[2]}](../tests/triggers/{test.partition('::')[0]})" for test in one.tests)
    return (
        f"### {one.name}\n\n{called[0].upper()}{called[1:]}\n\n{one.kind}; {heat}; gives {given}; since {one.since}. "
        f"{one.more}".rstrip()
        + f"\n\nShown by {shown}.\n"
    )


def _row(one: Trigger) -> str:
    given, called = ", ".join(one.arguments), f"{_called(one)} {one.more}".strip()
    return f"| `{one.name}` | {given} | {one.kind} | {'hot' if one.is_hot else ''} | {called} | {one.since} |"


def _called(one: Trigger) -> str:
    return one.when.removeprefix("Called ")


HEAD = """\
# Triggers

A trigger is a point in the life of an app, a worker or a task where plugins are called. The engine calls it around
what a broker, a storage or another component does, and the component does not know: so every broker has the same
triggers, also one that somebody else wrote. This page is made of the declarations in
[hookspecs](../packages/qtasks-core/src/qtasks_core/hookspecs/__init__.py) by
[page.py](../tests/triggers/page.py), and a trigger without a test that fires it fails the build.

```python title="shop.py"
from qtasks import QueueTasks
from qtasks.plugins import BasePlugin

app = QueueTasks("shop", broker_url="memory://")


class Rounding(BasePlugin):
    def task_executor_args_replace(self, args, kwargs):
        return (tuple(round(one) for one in args), kwargs)


app.add_plugin(Rounding())


@app.task
def double(number: float) -> float:
    return 2 * number


if __name__ == "__main__":
    with app.worker():
        print(double.add_task(2.7).result(timeout=30))
```

```console
$ python shop.py
6.0
```

- Arguments are given by name, and a plugin takes those that it needs. It is a `def`, which is called on the event loop
  and must not block, or an `async def`; where *synchronous* is written, a `def`.
- **Replaces**: what the plugin returns takes the place of the value, None leaves it, `Replace(None)` makes it None;
  the next plugin is given the result. A plugin that raises, or returns what does not fit, fails the call or the task
  that it belongs to and no other one: the error names plugin and trigger. What a message, a delivery or a record is
  known by may not change.
- **Notifies**: what the plugin returns is ignored. One that raises is logged with plugin and trigger, at most once a
  second, and counted; the task goes on.
- **Hot**: called for each task. Hot triggers are looked up once, when a worker starts or a client adds its first task;
  a plugin that comes later is refused. Nobody pays for one that no plugin answers.
- A plugin that is slow holds up its own task only: what is done for each task is done before it enters a batch.
- Of several plugins those that were marked `tryfirst` are called first, then the one that was added last, and so on
  back to the first, then those marked `trylast`.
"""
FIRST_HEAD = """\
## Those that plugins need first

In the order in which an app, a worker and a task meet them.
"""
REST_HEAD = """\
## All others
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
