"""Which names a new plugin may have, and what is called after them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from qtasks_testing.new_plugin.rendering import Kind

__all__ = ["PREFIX", "PluginName", "checked_name"]

PREFIX = "qtasks-"
_FORM = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MOST = 30  # characters: lines of the template that hold it stay within 120
_OURS = frozenset({"core", "depends", "grpc", "kafka", "rabbitmq", "redis", "sqlite", "testing"})


class PluginName(NamedTuple):
    """The name of a plugin: what stands after `qtasks-`, and a scheme, a plugin's or a command's name besides."""

    text: str

    @property
    def distribution(self) -> str:
        """What is installed: `qtasks-my-dir`."""
        return PREFIX + self.text

    @property
    def module(self) -> str:
        """What is imported: `qtasks_my_dir`."""
        return self.distribution.replace("-", "_")

    def camel(self, *, without: str) -> str:
        """Return what classes begin with: `MyDir`, also of my-dir-broker *without* its last word."""
        return "".join(part.capitalize() for part in self.text.removesuffix(f"-{without}").split("-"))


def checked_name(text: str, kind: Kind) -> PluginName:
    """Return the name of a new plugin of that kind.

    Raises:
        ValueError: It has another form, or something that is there has it; the message says what is expected.
    """
    if not _FORM.fullmatch(text) or len(text) > _MOST:
        raise ValueError(
            f"expected lower-case words of letters and digits with - between them, the first of which begins with "
            f"a letter, {_MOST} characters at most, such as {_suggestion(text)!r}; got {text!r}"
        )
    if text.startswith(PREFIX):
        raise ValueError(f"expected what stands after {PREFIX!r}, such as {_suggestion(text)!r}; got {text!r}")
    if text in _OURS:
        raise ValueError(f"{PREFIX}{text} is a distribution of QTasks itself; expected another name")
    if text in kind.taken():
        raise ValueError(f"the {kind.name} {text!r} is there already; expected another name")
    return PluginName(text)


def _suggestion(text: str) -> str:
    """Return the nearest name that has the form."""
    words = re.findall("[a-z0-9]+", re.sub("([a-z0-9])([A-Z])", r"\1-\2", text).lower())
    near = "-".join(words)[:_MOST].strip("-").removeprefix(PREFIX).lstrip("-0123456789")
    return near if _FORM.fullmatch(near) and near not in _OURS else "my-dir"
