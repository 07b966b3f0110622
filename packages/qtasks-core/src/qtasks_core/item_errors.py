"""What a component answers for an item of a batch that it could not even encode."""

from __future__ import annotations

from qtasks_core.errors import ItemError, RefusedError

__all__ = ["item_error"]


def item_error(error: Exception) -> ItemError:
    """Return the answer for the one item whose encoding raised; its mates go on.

    Parameters:
        error: What was raised. An ItemError says it all; anything else would be raised another time too.
    """
    if isinstance(error, ItemError):
        return error
    refused = RefusedError(f"cannot be stored: {type(error).__name__}: {error}")
    refused.__cause__ = error
    return refused
