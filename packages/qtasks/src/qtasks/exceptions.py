"""Every error that QTasks raises; the tree is drawn in `qtasks_core.errors`."""

from __future__ import annotations

from qtasks_core import errors as _errors
from qtasks_core.errors import *  # noqa: F403  # the one list of names is there

__all__ = list(_errors.__all__)  # as above
