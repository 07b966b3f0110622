"""`-A`: what is found, and what a user reads when it is not."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from qtasks_core.cli.group import qtasks
from qtasks_core.cli.loading import LoadingError, UserCodeError, load_app

APP = "from qtasks_core.blocking import QueueTasks\napp = QueueTasks('Shop', 'memory://')\n"

_numbers = itertools.count(1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty current folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QTASKS_APP", raising=False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if name not in before and str(tmp_path) in str(getattr(module, "__file__", None) or module.__spec__):
            del sys.modules[name]


def module_in(folder: Path, text: str, name: str = "") -> str:
    """Write a module whose name no test used before; return the name."""
    name = name or f"shop{next(_numbers)}"
    (folder / f"{name}.py").write_text(text)
    return name


def message_for(ref: str) -> str:
    """Return the message of a failed loading."""
    with pytest.raises(LoadingError) as caught:
        load_app(ref)
    return caught.value.message


def invoke(*args: str) -> Result:
    """Run `qtasks ARGS` in this process."""
    return CliRunner().invoke(qtasks, args)


# ---------------------------------------------------------------- found


@pytest.mark.parametrize("face", ["blocking", "aio"])
def test_an_app_of_either_face_is_found_in_the_current_folder(project: Path, face: str) -> None:
    """`-A module:app` gives the core of a QueueTasks of either face; the folder becomes the first of sys.path."""
    name = module_in(project, APP.replace("blocking", face))
    assert load_app(f"{name}:app").name == "Shop"
    assert sys.path[0] == str(project)


def test_a_module_alone_means_its_app(project: Path) -> None:
    """`-A module` looks for `app`."""
    name = module_in(project, APP)
    assert load_app(name).name == "Shop"


def test_module_and_attribute_may_be_dotted(project: Path) -> None:
    """`-A package.module:holder.queue` walks both sides."""
    package = project / "dotted_package"
    package.mkdir()
    (package / "__init__.py").touch()
    module_in(package, f"{APP}class Holder:\n    queue = app\n", "tasks")
    assert load_app("dotted_package.tasks:Holder.queue").name == "Shop"


def test_the_environment_names_the_app(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QTASKS_APP stands in for -A."""
    monkeypatch.setenv("QTASKS_APP", "nowhere:app")
    result = invoke("run")
    assert result.exit_code == 2
    assert "there is no module 'nowhere'" in result.output


# ---------------------------------------------------------------- not found


def test_no_app_named(project: Path) -> None:
    """Without -A the message says how to name one."""
    result = invoke("run")
    assert result.exit_code == 2
    assert "no app is named: put -A module:app before the command, or set QTASKS_APP" in result.output


def test_a_missing_module_is_told_with_folder_and_neighbours(project: Path) -> None:
    """The message says what was looked for, where, what is there, the nearest name and the command that works."""
    (project / "orders_app.py").write_text(APP)
    (project / "zebra.py").touch()
    message = message_for("order_app:queue")
    assert message.splitlines() == [
        "there is no module 'order_app'.",
        "",
        "  looked for   -A order_app:queue",
        f"  in           {project}, then the rest of sys.path",
        "  there is     orders_app, zebra",
        "  nearest      orders_app",
        "",
        "Try: -A orders_app:queue",
    ]


def test_a_missing_module_in_an_empty_folder(project: Path) -> None:
    """With nothing to suggest, the message says where to go."""
    message = message_for("nowhere")
    assert "Go to the folder that holds the module, or name it in full." in message
    assert "nearest" not in message


def test_a_missing_module_in_a_package_is_looked_for_in_that_package(project: Path) -> None:
    """`package.typo`: the package's own modules are listed, with their full names."""
    package = project / "lonely_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "worker.py").touch()
    message = message_for("lonely_package.wroker:app")
    assert "there is no module 'lonely_package.wroker'." in message
    assert f"the package lonely_package ({package})" in message
    assert "Try: -A lonely_package.worker:app" in message


def test_an_attribute_written_with_a_dot_gets_its_colon(project: Path) -> None:
    """`-A module.app` is answered with `-A module:app`."""
    name = module_in(project, APP)
    message = message_for(f"{name}.app")
    assert f"{name} is a module, not a package" in message
    assert f"-A {name}:app" in message.splitlines()[-1]


@pytest.mark.parametrize(
    "ref", ["web/tasks.py:queue", "./web/tasks.py:queue", "web\\tasks.py:queue", "web/tasks:queue"]
)
def test_a_file_is_answered_with_its_module(project: Path, ref: str) -> None:
    """A path in place of a module: the message has the dotted name."""
    message = message_for(ref)
    assert f"-A {ref} names a file, where a module is expected." in message
    assert message.splitlines()[-1] == "Try: -A web.tasks:queue"


@pytest.mark.parametrize("ref", [":app", "app:", ".app", "a..b:app", "app:a..b"])
def test_an_empty_part(project: Path, ref: str) -> None:
    """Parts that are empty are refused before anything is imported."""
    assert f"-A {ref} has an empty part." in message_for(ref)


def test_a_missing_attribute_is_told_with_the_apps_that_are_there(project: Path) -> None:
    """The message lists the module's QueueTasks objects and suggests the one whose name is nearest."""
    name = module_in(project, f"{APP}orders = QueueTasks('Orders', 'memory://')\n")
    message = message_for(f"{name}:order")
    assert f"{name!r} has no attribute 'order'." in message
    assert f"in           {project / name}.py" in message
    assert "apps there   app, orders" in message
    assert "nearest      orders" in message
    assert f"Try: -A {name}:orders" in message


def test_a_missing_part_of_a_dotted_attribute(project: Path) -> None:
    """The part that is missing is named, with what it was looked for in."""
    name = module_in(project, f"{APP}class Holder:\n    queue = app\n")
    message = message_for(f"{name}:Holder.quue")
    assert "'Holder' has no attribute 'quue'." in message
    assert "nearest      queue" in message


def test_a_module_without_an_app(project: Path) -> None:
    """`-A queue` finds a module of the standard library: the message shows which file it was, and what is missing."""
    message = message_for("queue")
    assert "'queue' has no attribute 'app'." in message
    assert "queue.py" in message
    assert "apps there   none" in message
    assert message.splitlines()[-1] == "Put an app into queue: app = QueueTasks()"


def test_a_folder_that_is_no_package(project: Path) -> None:
    """A folder without __init__.py is called what it is."""
    (project / "bare_folder").mkdir()
    message = message_for("bare_folder:app")
    assert "'bare_folder' has no attribute 'app'." in message
    assert f"{project / 'bare_folder'} (a folder without __init__.py)" in message


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        ("number", "an object of type int"),
        ("QueueTasks", "the class QueueTasks"),
        ("make", "an object of type function"),
        ("add", "an object of type BlockingTaskFunction"),
    ],
)
def test_an_attribute_of_another_type(project: Path, attribute: str, kind: str) -> None:
    """What is no QueueTasks is called by its type, beside the apps that are there."""
    text = f"{APP}number = 1\ndef make(): return app\n@app.task\ndef add(): pass\n"
    name = module_in(project, text)
    message = message_for(f"{name}:{attribute}")
    assert f"{name}:{attribute} is {kind}, where a QueueTasks is expected." in message
    assert f"Try: -A {name}:app" in message


# ---------------------------------------------------------------- the user's module raises


def test_an_error_in_the_module_is_shown_from_the_users_frame_on(project: Path) -> None:
    """The traceback begins in the user's file and ends with the error; the exit code is 1."""
    name = module_in(project, "def price():\n    return 1 / 0\nprice()\n")
    result = invoke("-A", name, "run")
    lines = result.output.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{project / name}.py", line 3, in <module>'
    assert lines[-1] == f"Error: importing '{name}' (for -A {name}) raised ZeroDivisionError: division by zero"
    assert result.exit_code == 1


def test_an_import_that_fails_in_the_module_is_not_a_missing_module(project: Path) -> None:
    """ModuleNotFoundError for another module is the user's traceback, not "there is no module"."""
    name = module_in(project, "import a_library_that_is_missing\n")
    result = invoke("-A", name, "run")
    assert f'File "{project / name}.py", line 1' in result.output
    assert "No module named 'a_library_that_is_missing'" in result.output
    assert "there is no module" not in result.output
    assert result.exit_code == 1


def test_an_error_in_a_parent_package(project: Path) -> None:
    """A package that raises is blamed, not its submodule."""
    package = project / "broken_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('no settings')\n")
    (package / "tasks.py").write_text(APP)
    with pytest.raises(UserCodeError, match=r"importing 'broken_package' .* raised RuntimeError: no settings"):
        load_app("broken_package.tasks:app")


def test_a_syntax_error_is_shown_with_its_line(project: Path) -> None:
    """A module that cannot be parsed: file, line and text, without frames of the loader."""
    name = module_in(project, "app = = 1\n")
    result = invoke("-A", name, "run")
    assert result.output.splitlines()[:2] == [f'  File "{project / name}.py", line 1', "    app = = 1"]
    assert "importlib" not in result.output


def test_a_module_that_exits(project: Path) -> None:
    """A script without a main guard does not end the command line silently."""
    name = module_in(project, "raise SystemExit(0)\n")
    result = invoke("-A", name, "run")
    assert "raised SystemExit: 0" in result.output
    assert result.exit_code == 1


def test_a_wrong_url_in_the_module_is_a_wrong_configuration(project: Path) -> None:
    """The exit code is 2, so that no supervisor tries it again and again; the traceback shows the line."""
    name = module_in(project, APP.replace("memory://", "memry://"))
    result = invoke("-A", name, "run")
    assert result.exit_code == 2
    assert f'File "{project / name}.py", line 2' in result.output
    assert "raised UnknownSchemeError" in result.output


def test_what_the_user_reads_begins_with_error(project: Path) -> None:
    """A LoadingError is a click exception with exit code 2."""
    error = LoadingError.report("nothing here.", [], "Try: again")
    assert isinstance(error, click.ClickException)
    assert error.exit_code == 2
