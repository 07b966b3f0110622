"""What a test needs of the backend: capabilities, protocols and traits, never a brand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from qtasks_core.contract import Capability
from qtasks_testing.kit.subject import Trait

if TYPE_CHECKING:
    from qtasks_testing.kit.subject import Subject

__all__ = ["MARK", "Requirement", "requires", "unmet"]

MARK = "qtasks_requires"

Requirement: TypeAlias = "Capability | Trait | type[Any]"


def requires(*needs: Requirement) -> pytest.MarkDecorator:
    """Mark a test or a suite: it is skipped, and reported, where the backend lacks one of *needs*.

    Parameters:
        needs: A Capability or a runtime-checkable protocol of the suite's component, or a Trait of the subject.
    """
    return pytest.mark.qtasks_requires.with_args(*needs)  # calling it would take a class for what is decorated


def unmet(need: Requirement, subject: Subject, component: object) -> str | None:
    """Return why *need* is not met, None when it is."""
    name = type(component).__name__
    if isinstance(need, Trait):
        return None if need in subject.traits else f"the subject does not offer {need.value}"
    if isinstance(need, Capability):
        declared: Capability = getattr(component, "capabilities", Capability(0))
        return None if need in declared else f"{name} does not declare Capability.{need.name}"
    return None if isinstance(component, need) else f"{name} is no {need.__name__}"
