"""The files of the template, with names in the place of placeholders.

A file of the template has the suffix `-tpl`, so that neither Python, pip nor a test runner takes it for what it will
be. `NAME` in its path and `@WORD@` in its text are replaced. What each kind has is in the folder `qtasks-NAME`, what
one kind has besides in `qtasks-NAME.KIND`.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from qtasks_core.cli import group
from qtasks_core.discovery.entries import COMMANDS, PLUGINS, SCHEMES, entries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qtasks_testing.new_plugin.naming import PluginName

__all__ = ["KINDS", "Kind", "rendered", "write"]

TEMPLATE = Path(__file__).with_name("template")
_SUFFIX = "-tpl"


class Kind(NamedTuple):
    """What can be begun from the template.

    Parameters:
        name: As it is asked for.
        group: Its entry-point group.
        attribute: What its entry point names, in the package; `@CLASS@` stands for the name.
        summary: One line for the index.
        needs: Distributions besides the core, with their versions.
    """

    name: str
    group: str
    attribute: str
    summary: str
    needs: tuple[str, ...] = ()

    def taken(self) -> frozenset[str]:
        """Return the names that are in use here already."""
        own = group.COMMANDS if self.group == COMMANDS else ()
        return frozenset([*own, *(entry.name for entry in entries(self.group))])


KINDS = {
    kind.name: kind
    for kind in (
        Kind("broker", SCHEMES["broker"], "@CLASS@Broker", "A broker of QTasks for @NAME@://", ("msgspec>=0.19",)),
        Kind("command", COMMANDS, "command", "A command of QTasks: qtasks @NAME@", ("click>=8.1",)),
        Kind("plugin", PLUGINS, "@CLASS@Plugin", "A plugin of QTasks that logs how long tasks run"),
        Kind("storage", SCHEMES["storage"], "@CLASS@Storage", "A storage of QTasks for @NAME@://"),
    )
}


def write(folder: Path, name: PluginName, kind: Kind) -> list[Path]:
    """Write a distribution into *folder*; return the files, sorted.

    Raises:
        FileExistsError: There is something in the folder, or it is a file.
        OSError: It cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already, and not an empty folder")
    written = []
    for path, text in rendered(name, kind).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return sorted(written)


def rendered(name: PluginName, kind: Kind) -> dict[PurePosixPath, str]:
    """Return the text of each file of a distribution by its path in it."""
    words = _words(name, kind)
    return {
        PurePosixPath(_replaced(path, {"NAME": name.module.removeprefix("qtasks_")})): _replaced(text, words)
        for folder in ("qtasks-NAME", f"qtasks-NAME.{kind.name}")
        for path, text in _files(TEMPLATE / folder)
    }


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob(f"*{_SUFFIX}"):
        yield path.relative_to(folder).as_posix().removesuffix(_SUFFIX), path.read_text(encoding="utf-8")


def _words(name: PluginName, kind: Kind) -> dict[str, str]:
    major, minor, *_ = version("qtasks-core").split(".")
    versions = f">={major}.{minor},<{int(major) + 1}"
    dependencies = sorted((*kind.needs, f"qtasks-core{versions}"))
    return {
        "@DEPENDENCIES@": "\n".join(f'  "{one}",' for one in dependencies),
        "@VERSIONS@": versions,
        "@GROUP@": kind.group,
        "@ENTRY@": f"{name.module}:{kind.attribute}",
        "@SUMMARY@": kind.summary,
        "@YEAR@": time.strftime("%Y"),
        "@MODULE@": name.module,  # after those that hold it
        "@CLASS@": name.camel(without=kind.name),
        "@NAME@": name.text,
    }


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
