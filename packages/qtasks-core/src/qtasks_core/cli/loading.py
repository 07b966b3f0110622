"""`-A module:app` → the app, or an error that says what was looked for, where, what is there, and how to mend it."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from qtasks_core.cli.failures import Misconfigured
from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType, TracebackType

    from qtasks_core.app import App

__all__ = ["LoadingError", "UserCodeError", "load_app"]

DEFAULT_ATTRIBUTE = "app"
_LISTED = 12


class LoadingError(Misconfigured):
    """The app that `-A` names is not there."""

    @classmethod
    def report(cls, problem: str, facts: Iterable[tuple[str, str]], fix: str) -> LoadingError:
        """Put together what a user needs to see, on one screen."""
        lines = [f"  {label:<12} {text}" for label, text in facts if text]
        return cls("\n".join([problem, "", *lines, "", fix]))


class UserCodeError(click.ClickException):
    """The user's module raised while it was imported; shown with its traceback from the user's frame on."""

    def __init__(self, ref: str, module: str, error: BaseException) -> None:
        super().__init__(f"importing {module!r} (for -A {ref}) raised {type(error).__name__}: {error}")
        self._error = error

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the traceback, then the message."""
        frames = _from_user_on(self._error.__traceback__)
        text = "".join(traceback.format_exception(type(self._error), self._error, frames))
        click.echo(text, file=file, err=file is None)
        super().show(file)


class _UserConfigError(UserCodeError):
    """What it raised says that a setting or a URL is wrong."""

    exit_code = 2


class _Ref(NamedTuple):
    text: str
    module: str
    attribute: str


def load_app(text: str | None) -> App:
    """Import the app that `-A` names; the current directory is looked at first.

    Parameters:
        text: `module:attribute`, both may be dotted; `module` alone means `module:app`.

    Raises:
        LoadingError: There is no such module or attribute, or it is no QueueTasks.
        UserCodeError: The module raised.
    """
    ref = _parse(text)
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    module = _import(ref, here)
    app = _core_of(ref, module, _attribute(ref, module))
    app.imported_as = (ref.module, ref.attribute)
    return app


# ---------------------------------------------------------------- the reference


def _parse(text: str | None) -> _Ref:
    if not text:
        raise click.UsageError("no app is named: put -A module:app before the command, or set QTASKS_APP")
    module, _, attribute = text.partition(":")
    if module.endswith(".py") or "/" in module or "\\" in module:
        raise LoadingError.report(
            f"-A {text} names a file, where a module is expected.",
            [("looked for", "MODULE:ATTRIBUTE, as in `import MODULE`")],
            f"Try: -A {_dotted(module)}:{attribute or DEFAULT_ATTRIBUTE}",
        )
    attribute = attribute if ":" in text else DEFAULT_ATTRIBUTE
    if not all([*module.split("."), *attribute.split(".")]):
        raise LoadingError.report(
            f"-A {text} has an empty part.",
            [("looked for", "MODULE:ATTRIBUTE; both may be dotted, the module as seen from the current folder")],
            "Try: -A app:app for the variable `app` in app.py",
        )
    return _Ref(text, module, attribute)


def _dotted(path: str) -> str:
    parts = path.removesuffix(".py").replace("\\", "/").split("/")
    return ".".join(part for part in parts if part not in ("", "."))


# ---------------------------------------------------------------- the module


def _import(ref: _Ref, here: str) -> ModuleType:
    """Import package after package, so that a missing module and a module that misses something are told apart."""
    parts = ref.module.split(".")
    parent: ModuleType | None = None
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if not _exists(name, parent):
            raise _no_module(ref, name, parent, here)
        try:
            parent = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            kind = _UserConfigError if isinstance(error, ConfigError) else UserCodeError
            raise kind(ref.text, name, error) from error
    assert parent is not None  # noqa: S101  # a module's name has at least one part
    return parent


def _exists(name: str, parent: ModuleType | None) -> bool:
    if parent is not None and not hasattr(parent, "__path__"):
        return False
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _no_module(ref: _Ref, name: str, parent: ModuleType | None, here: str) -> LoadingError:
    if parent is None:
        places, where = [here], f"{here}, then the rest of sys.path"
    elif hasattr(parent, "__path__"):
        places = list(parent.__path__)
        where = f"the package {parent.__name__} ({', '.join(places)})"
    else:
        return LoadingError.report(
            f"there is no module {name!r}: {parent.__name__} is a module, not a package.",
            [("looked for", f"-A {ref.text}"), ("in", _place(parent)), ("apps there", _listed(_apps_in(parent)))],
            f"Put a colon before the attribute: -A {parent.__name__}:{ref.module.removeprefix(parent.__name__ + '.')}",
        )
    prefix = f"{parent.__name__}." if parent else ""
    there = sorted(prefix + module.name for module in pkgutil.iter_modules(places))
    near = _nearest(name, there)
    return LoadingError.report(
        f"there is no module {name!r}.",
        [("looked for", f"-A {ref.text}"), ("in", where), ("there is", _listed(there)), ("nearest", _listed(near))],
        f"Try: -A {near[0]}:{ref.attribute}" if near else "Go to the folder that holds the module, or name it in full.",
    )


# ---------------------------------------------------------------- the attribute


def _attribute(ref: _Ref, module: ModuleType) -> object:
    found: Any = module
    for part in ref.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _no_attribute(ref, module, found, part) from None
    return found


def _no_attribute(ref: _Ref, module: ModuleType, holder: object, part: str) -> LoadingError:
    apps = _apps_in(module)
    public = [name for name in vars(holder) if not name.startswith("_")] if hasattr(holder, "__dict__") else []
    near = _nearest(part, public)
    holder_name = module.__name__ if holder is module else ref.attribute[: -len(part)].rstrip(".") or ref.attribute
    return LoadingError.report(
        f"{holder_name!r} has no attribute {part!r}.",
        [
            ("looked for", f"-A {ref.text}"),
            ("in", _place(module)),
            ("apps there", _listed(apps) or "none"),
            ("nearest", _listed(near)),
        ],
        _how_to_name(module, _nearest(part, apps) or apps),
    )


def _core_of(ref: _Ref, module: ModuleType, found: object) -> App:
    from qtasks_core.app import AppFace  # noqa: PLC0415  # keeps `--help` and usage errors fast

    if isinstance(found, AppFace):
        return found.core
    apps = _apps_in(module)
    kind = f"the class {found.__name__}" if isinstance(found, type) else f"an object of type {type(found).__qualname__}"
    raise LoadingError.report(
        f"{ref.module}:{ref.attribute} is {kind}, where a QueueTasks is expected.",
        [("looked for", f"-A {ref.text}"), ("in", _place(module)), ("apps there", _listed(apps) or "none")],
        _how_to_name(module, apps),
    )


def _apps_in(module: ModuleType) -> list[str]:
    from qtasks_core.app import AppFace  # noqa: PLC0415  # as above

    return [name for name, value in vars(module).items() if isinstance(value, AppFace)]


def _how_to_name(module: ModuleType, apps: Sequence[str]) -> str:
    if apps:
        return f"Try: -A {module.__name__}:{apps[0]}"
    return f"Put an app into {module.__name__}: app = QueueTasks()"


# ---------------------------------------------------------------- words


def _place(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    if file:
        return str(file)
    return f"{', '.join(getattr(module, '__path__', ['built-in']))} (a folder without __init__.py)"


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return f"{shown} … and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


def _from_user_on(frames: TracebackType | None) -> TracebackType | None:
    """Drop our own and the import system's frames from the start."""
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _is_ours(filename: str) -> bool:
    return filename in (__file__, importlib.__file__) or filename.startswith("<frozen importlib")
