"""Names that an extra of `qtasks` brings: imported when they are asked for, explained where it is not installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["names_of"]


def names_of(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` for names that an extra brings.

    Parameters:
        module: The module, for messages.
        names: By name, the extra of `qtasks` that brings it; its package is `qtasks_EXTRA`.
    """

    def find(name: str) -> Any:
        """Return what the extra brings.

        Raises:
            ImportError: It is not installed; says how to install it.
            AttributeError: There is no such name.
        """
        extra = names.get(name)
        if extra is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        package = f"qtasks_{extra}"
        try:
            found = import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            hint = f'{module}.{name} is in qtasks-{extra}, which is not installed: pip install "qtasks[{extra}]"'
            raise ImportError(hint, name=package) from None
        return getattr(found, name)

    return find
