"""What users write: `Depends(…)`, as a default or inside of `Annotated`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast, overload

from qtasks_core.errors import RegistrationError
from qtasks_core.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

__all__ = ["Dependency", "Depends", "ScopeEnum", "ScopeName"]

T = TypeVar("T")
ScopeName = Literal["task", "worker", "broker", "storage", "global_config"]


class ScopeEnum(StrEnum):
    """How long a dependency lives, from short to long: with one run, or with a component of the worker."""

    TASK = "task"
    WORKER = "worker"
    BROKER = "broker"
    STORAGE = "storage"
    GLOBAL_CONFIG = "global_config"

    @property
    def width(self) -> int:
        """Its place in that order: who is wider may not depend on who is narrower."""
        return list(ScopeEnum).index(self)


class Dependency:
    """What `Depends` returns: it marks a parameter.

    Parameters:
        function: What makes the value; None: the parameter's annotated class.
        scope: How long the value lives.
        use_cache: Whether all who ask for it within the scope share one.
    """

    __slots__ = ("function", "scope", "use_cache")

    def __init__(self, function: Callable[..., Any] | None, scope: ScopeEnum, *, use_cache: bool) -> None:
        self.function = function
        self.scope = scope
        self.use_cache = use_cache

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", None) or repr(self.function)
        return f"Depends({name}, scope={self.scope.value!r})"

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse to be taken for the value where nobody provided it.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(
            f"{self!r} has no {name!r}: it marks a parameter, and nothing was provided. A worker does so when the "
            "plugin `depends` is there (`qtasks plugins` tells); to call the function itself pass the value by name"
        )


_Scope = ScopeEnum | ScopeName


@overload
def Depends(dependency: Callable[..., AsyncGenerator[T, Any]], *, scope: _Scope = ..., use_cache: bool = ...) -> T: ...
@overload
def Depends(dependency: Callable[..., AsyncIterator[T]], *, scope: _Scope = ..., use_cache: bool = ...) -> T: ...
@overload
def Depends(
    dependency: Callable[..., AbstractAsyncContextManager[T]], *, scope: _Scope = ..., use_cache: bool = ...
) -> T: ...
@overload
def Depends(dependency: Callable[..., Awaitable[T]], *, scope: _Scope = ..., use_cache: bool = ...) -> T: ...
@overload
def Depends(dependency: Callable[..., Generator[T, Any, Any]], *, scope: _Scope = ..., use_cache: bool = ...) -> T: ...
@overload
def Depends(dependency: Callable[..., Iterator[T]], *, scope: _Scope = ..., use_cache: bool = ...) -> T: ...
@overload
def Depends(
    dependency: Callable[..., AbstractContextManager[T]], *, scope: _Scope = ..., use_cache: bool = ...
) -> T: ...
@overload
def Depends(dependency: Callable[..., T], *, scope: _Scope = ..., use_cache: bool = ...) -> T: ...
@overload
def Depends(dependency: None = None, *, scope: _Scope = ..., use_cache: bool = ...) -> Any: ...
def Depends(  # noqa: N802  # it reads as the class that its result is to the user
    dependency: Callable[..., Any] | None = None, *, scope: _Scope = ScopeEnum.TASK, use_cache: bool = True
) -> Any:
    """Mark a parameter of a task, or of a dependency, whose value is made by a function.

    `db=Depends(get_db)` or `db: Annotated[Db, Depends(get_db)]`. A generator (`yield` once), a function that is
    decorated with `contextmanager` or `asynccontextmanager`, and a class that is a context manager are left again when
    the scope ends.

    Parameters:
        dependency: A function, coroutine function, generator function of either kind, or a class, which may be a
            state; None: the class that the parameter is annotated with. What it asks for itself is provided likewise.
        scope: How long the value lives: "task", or with the "worker", "broker", "storage" or "global_config".
        use_cache: Whether all who ask for the same function in the same scope share one value. False: each parameter
            that says so has its own.

    Raises:
        RegistrationError: The scope does not exist, or the dependency cannot be called.
    """
    if dependency is not None and not callable(dependency):
        raise RegistrationError(f"Depends: expected a function or a class, got {dependency!r}")
    return cast("Any", Dependency(dependency, _scope(scope), use_cache=use_cache))


def _scope(scope: str) -> ScopeEnum:
    try:
        return ScopeEnum(scope)
    except ValueError:
        names = [one.value for one in ScopeEnum]
        hint = suggestion(str(scope), names)
        raise RegistrationError(f"Depends: scope: expected one of {', '.join(names)}, got {scope!r}{hint}") from None
