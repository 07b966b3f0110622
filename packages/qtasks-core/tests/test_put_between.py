"""How the values of parameters that no caller passes are put between the caller's."""

from __future__ import annotations

from typing import Any

import pytest

from qtasks_core.provided import Place, put_between

CTX: Any = object()


@pytest.mark.parametrize(
    ("places", "args", "kwargs", "expected"),
    [
        ((), (1, 2), {"z": 3}, ((1, 2), {"z": 3})),
        ((Place("ctx", 0),), (1,), {}, ((CTX, 1), {})),
        ((Place("ctx", 0),), (), {"x": 1}, ((CTX,), {"x": 1})),
        ((Place("ctx", 1),), (1, 3), {}, ((1, CTX, 3), {})),
        ((Place("ctx", 1),), (1,), {}, ((1, CTX), {})),
        ((Place("ctx", 1),), (), {"x": 1, "y": 3}, ((), {"x": 1, "y": 3, "ctx": CTX})),
        ((Place("ctx", None),), (1,), {}, ((1,), {"ctx": CTX})),
        ((Place("self", 0), Place("ctx", 2)), (1,), {}, ((CTX, 1, CTX), {})),
        ((Place("self", 0), Place("ctx", 2)), (), {"x": 1}, ((CTX,), {"x": 1, "ctx": CTX})),
    ],
)
def test_values_are_put_where_their_parameters_are(
    places: Any, args: Any, kwargs: Any, expected: tuple[tuple[Any, ...], dict[str, Any]]
) -> None:
    """By position where the caller's reach so far, else by name; the caller's own stay in their order."""
    before = dict(kwargs)

    assert expected == put_between(places, {place.name: CTX for place in places}, args, kwargs)
    assert before == kwargs
