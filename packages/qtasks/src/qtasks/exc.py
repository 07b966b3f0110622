"""Another name of `qtasks.exceptions`."""

from __future__ import annotations

from qtasks_core import errors as _errors
from qtasks_core.errors import *  # noqa: F403  # the one list of names is there

__all__ = list(_errors.__all__)  # as above
