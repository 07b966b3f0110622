"""What a test needs of the backend: capabilities, protocols, traits and abilities, never a brand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pytest

from qtasks_core.contract import Capability
from qtasks_testing.kit.subject import Trait

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_testing.kit.subject import Subject

__all__ = ["MARK", "Ability", "Lack", "Requirement", "requires", "unmet"]

MARK = "qtasks_requires"


class Ability(NamedTuple):
    """Something that an app on the subject can do for its users.

    Parameters:
        name: In a user's words.
        missing: Tells why a subject has it not; None when it has.
        instead: What a user gets where it is missing: an error as it is shown, or what happens in its place.
    """

    name: str
    missing: Callable[[Subject], str | None]
    instead: str


class Lack(NamedTuple):
    """The need of a test that looks at what users get where an ability is missing.

    Parameters:
        ability: What the subject must not have.
    """

    ability: Ability


Requirement: TypeAlias = "Capability | Trait | Ability | Lack | type[Any]"


def requires(*needs: Requirement) -> pytest.MarkDecorator:
    """Mark a test or a suite: it is skipped, and reported, where the backend lacks one of *needs*.

    Parameters:
        needs: A Capability or a runtime-checkable protocol of the suite's component, a Trait of the subject, or an
            Ability of an app on it.
    """
    return pytest.mark.qtasks_requires.with_args(*needs)  # calling it would take a class for what is decorated


def unmet(need: Requirement, subject: Subject, component: object) -> str | None:
    """Return why *need* is not met, None when it is."""
    name = type(component).__name__
    if isinstance(need, Trait):
        return None if need in subject.traits else f"the subject does not offer {need.value}"
    if isinstance(need, Ability):
        return need.missing(subject)
    if isinstance(need, Lack):
        return None if need.ability.missing(subject) else f"nothing to refuse: the subject has {need.ability.name}"
    if isinstance(need, Capability):
        declared: Capability = getattr(component, "capabilities", Capability(0))
        return None if need in declared else f"{name} does not declare Capability.{need.name}"
    return None if isinstance(component, need) else f"{name} is no {need.__name__}"
