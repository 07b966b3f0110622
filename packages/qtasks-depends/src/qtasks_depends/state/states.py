"""`AsyncState` and `SyncState`: what tasks are given, and what they do with one bucket."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar, overload

from qtasks_core.app import App, AppFace
from qtasks_depends.state.errors import StateLockLostError, StateTypeError
from qtasks_depends.state.fields import Spec
from qtasks_depends.state.locking import AsyncStateLock, SyncStateLock
from qtasks_depends.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qtasks_depends.state.bucket import Bucket

__all__ = ["AsyncState", "Operations", "State", "SyncState"]

S = TypeVar("S", bound="State")
S_co = TypeVar("S_co", covariant=True)
_UNSET: Any = object()
_LOCK_TTL_S = 30.0


class _WithOptions(Protocol[S_co]):
    def __call__(self, *, state_key: str | None) -> S_co:
        """Return the state of another bucket.

        Parameters:
            state_key: Which; None: the one without a key.
        """
        ...


class _Options:
    """`with_options`: of a class it makes a class, for annotations; of a state another state."""

    @overload
    def __get__(self, instance: None, owner: type[S]) -> _WithOptions[type[S]]: ...
    @overload
    def __get__(self, instance: S, owner: type[S]) -> _WithOptions[S]: ...
    def __get__(self, instance: S | None, owner: type[S]) -> Any:
        if instance is not None:
            return instance._other  # noqa: SLF001  # it is a method of that class
        return owner._of_key  # noqa: SLF001  # as above


class State:
    """What both faces have in common; subclass `AsyncState` or `SyncState`.

    Parameters:
        app: The app that keeps it.
        state_key: Which bucket of the class; by default the one that the class names, else the one without a key.
    """

    spec: ClassVar[Spec]
    """What the class declares."""
    state_key: ClassVar[str | None] = None
    """Which bucket its states have."""
    with_options = _Options()
    """`with_options(state_key="user:1")`: the same with another bucket; of a class or of a state."""

    def __init_subclass__(cls, *, name: str | None = None, ttl: Any = _UNSET) -> None:
        """Declare a state.

        Parameters:
            name: Of its buckets; by default the class's. An AsyncState and a SyncState of one name share them.
            ttl: Seconds that a bucket lives after its last write; None, the default: for ever.

        Raises:
            StateDeclarationError: One of them is wrong, or a field is called as something that a state has already.
        """
        super().__init_subclass__()
        if "spec" in vars(cls):  # the same class with another bucket
            return
        inherited = getattr(cls, "spec", None)
        own_ttl = (inherited.ttl if inherited is not None else None) if ttl is _UNSET else ttl
        cls.spec = Spec(cls, name, own_ttl)

    def __init__(self, app: App, state_key: str | None = _UNSET) -> None:
        key = type(self).state_key if state_key is _UNSET else state_key
        self._operations = Operations(Store(app, self.spec, self.spec.key(key)), self.spec)

    @classmethod
    def of(cls, app: AppFace | App, state_key: str | None = _UNSET) -> Self:
        """Return a state outside of tasks, as in a web handler.

        Parameters:
            app: The app that keeps it.
            state_key: Which bucket; None: the one without a key; by default the class's own.

        Raises:
            StateDeclarationError: The key is no text.
        """
        return cls(app.core if isinstance(app, AppFace) else app, state_key)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {self._operations.store.key}>"

    def _other(self, *, state_key: str | None) -> Self:
        return type(self)(self._operations.store.app, state_key)

    @classmethod
    def _of_key(cls, *, state_key: str | None) -> type[Self]:
        cls.spec.key(state_key)  # refuses what is none
        own = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "spec": cls.spec, "state_key": state_key}
        return type(cls.__name__, (cls,), own)


class Operations:
    """What can be done with one bucket.

    Parameters:
        store: The bucket.
        spec: What its class declares.
    """

    def __init__(self, store: Store, spec: Spec) -> None:
        self.store = store
        self.held: dict[str, bytes] = {}
        """The locks that are held through this state, with their tokens."""
        self._spec = spec

    async def get(self, key: str | None = None, default: Any = None) -> Any:
        """See `AsyncState.get`."""
        if key is None:
            return await self.get_all()
        self._spec.check_key(key)
        return self._value(await self.store.read(), key, default)

    async def get_all(self) -> dict[str, Any]:
        """See `AsyncState.get_all`."""
        return self._all(await self.store.read())

    async def set(self, key: str, value: Any) -> None:
        """See `AsyncState.set`."""
        stored = self._spec.encode(key, value, self.store.app)

        def change(bucket: Bucket) -> tuple[None, bool]:
            bucket.fields[key] = stored
            return None, True

        await self._change(change)

    async def update(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `AsyncState.update`."""
        stored = {key: self._spec.encode(key, value, self.store.app) for key, value in values.items()}

        def change(bucket: Bucket) -> tuple[dict[str, Any], bool]:
            bucket.fields.update(stored)
            return self._all(bucket), bool(stored)

        found: dict[str, Any] = await self._change(change)
        return found

    async def delete(self, key: str) -> bool:
        """See `AsyncState.delete`."""
        self._spec.check_key(key)

        def change(bucket: Bucket) -> tuple[bool, bool]:
            is_there = bucket.fields.pop(key, None) is not None
            return is_there, is_there

        return bool(await self._change(change))

    async def clear(self) -> None:
        """See `AsyncState.clear`."""

        def change(bucket: Bucket) -> tuple[None, bool]:
            had = bool(bucket.fields)
            bucket.fields.clear()
            return None, had

        await self._change(change)

    async def increment(self, key: str, by: Any) -> Any:
        """See `AsyncState.increment`."""

        def check(number: object, what: str) -> None:
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise StateTypeError(f"{self._spec.owner.__qualname__}.{key}: expected a number {what}, got {number!r}")

        def change(bucket: Bucket) -> tuple[Any, bool]:
            value = self._value(bucket, key, 0)
            check(value, "to add to")
            bucket.fields[key] = self._spec.encode(key, value + by, self.store.app)
            return value + by, True

        self._spec.check_key(key)
        check(by, "to add")
        return await self._change(change)

    async def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        """See `AsyncState.compare_and_set`."""
        stored = self._spec.encode(key, new, self.store.app)
        old_ones = (old, self._spec.as_read(key, old, self.store.app))

        def change(bucket: Bucket) -> tuple[bool, bool]:
            is_same = self._value(bucket, key, None) in old_ones
            if is_same:
                bucket.fields[key] = stored
            return is_same, is_same

        return bool(await self._change(change))

    async def _change(self, change: Callable[[Bucket], tuple[Any, bool]]) -> Any:
        """Change the bucket, unless a lock that this state holds was lost: that is looked at in the same write."""

        def guarded(bucket: Bucket, now: float) -> tuple[Any, bool]:
            for name, token in self.held.items():
                entry = bucket.locks.get(name)
                if entry is None or entry.token != token or entry.until <= now:
                    raise StateLockLostError(
                        f"state {self._spec.name!r}: the lock {name!r} is not held any more: its ttl is "
                        "over, and somebody else may have it. Nothing was written; take the lock again with "
                        "a longer ttl, or call extend() in between"
                    )
            return change(bucket)

        return await self.store.change(guarded)

    def _value(self, bucket: Bucket, key: str, default: Any) -> Any:
        stored = bucket.fields.get(key)
        if stored is not None:
            return self._spec.decode(key, stored, self.store.app)
        return copy.deepcopy(self._spec.defaults[key]) if key in self._spec.defaults else default

    def _all(self, bucket: Bucket) -> dict[str, Any]:
        return {key: self._value(bucket, key, None) for key in dict.fromkeys([*self._spec.defaults, *bucket.fields])}


class AsyncState(State):
    """State that all workers share, for `async def` tasks: one bucket per class and state key, in the global config.

    A parameter that is annotated with a subclass is given a state. The class's annotations are its fields, and the
    class's attributes their defaults; a class without annotations takes any key. All methods raise
    `StateKeyError` for a key that is no field, and `UnavailableError` when the server is away for `send_timeout`; those
    that write raise `StateTypeError` for a value that is not of the annotated type, `StateLockLostError` when a lock is
    held through this state and was lost, and `SendUnknownError` when it cannot be told whether they have written.
    """

    async def get(self, key: str | None = None, default: Any = None) -> Any:
        """Return a field, or all of them.

        Parameters:
            key: The field; None: all, as `get_all` does.
            default: What an absent field is that has no default of its own.
        """
        return await self._operations.get(key, default)

    async def get_all(self) -> dict[str, Any]:
        """Return all fields that have a value or a default."""
        return await self._operations.get_all()

    async def set(self, key: str, value: Any) -> None:
        """Write one field.

        Parameters:
            key: The field.
            value: Of the annotated type.
        """
        await self._operations.set(key, value)

    async def update(self, /, **values: Any) -> dict[str, Any]:
        """Write several fields at once, all or none; return all fields as they are then.

        Parameters:
            values: By field.
        """
        return await self._operations.update(values)

    async def delete(self, key: str) -> bool:
        """Remove a field; return whether it was there.

        Parameters:
            key: The field.
        """
        return await self._operations.delete(key)

    async def clear(self) -> None:
        """Remove all fields; locks stay held."""
        await self._operations.clear()

    async def increment(self, key: str, by: float = 1) -> Any:
        """Add to a number; return what it is then. No increment is lost or counted twice.

        Parameters:
            key: The field; absent it is its default, else 0.
            by: What is added.
        """
        return await self._operations.increment(key, by)

    async def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        """Write a field if it is still what it was; return whether it was.

        Parameters:
            key: The field.
            old: What it has to be, as it was written or as it is read; absent it is its default, else None.
            new: What it becomes.
        """
        return await self._operations.compare_and_set(key, old, new)

    def lock(self, key: str = "", ttl: float = _LOCK_TTL_S, timeout: float | None = None) -> AsyncStateLock:
        """Return a lock for `async with`: one at a time holds it, in all processes, for *ttl* seconds at most.

        What this state writes meanwhile is refused once the lock is lost. What is written past it, by those who do not
        take it, is not.

        Parameters:
            key: Names it; a bucket has as many as it likes.
            ttl: Seconds after which it is free whatever its holder does; `extend` begins anew.
            timeout: Seconds to wait for it, then TimeoutError; None: for ever.
        """
        return AsyncStateLock(self._operations, key, ttl, timeout)


class SyncState(State):
    """The same for `def` tasks: it blocks where `AsyncState` is awaited; see there."""

    def get(self, key: str | None = None, default: Any = None) -> Any:
        """Return a field, or all of them; see `AsyncState.get`."""
        return self._call(self._operations.get, key, default)

    def get_all(self) -> dict[str, Any]:
        """Return all fields that have a value or a default."""
        return self._call(self._operations.get_all)  # type: ignore[no-any-return]  # as the operation says

    def set(self, key: str, value: Any) -> None:
        """Write one field; see `AsyncState.set`."""
        self._call(self._operations.set, key, value)

    def update(self, /, **values: Any) -> dict[str, Any]:
        """Write several fields at once; see `AsyncState.update`."""
        return self._call(self._operations.update, values)  # type: ignore[no-any-return]  # as above

    def delete(self, key: str) -> bool:
        """Remove a field; see `AsyncState.delete`."""
        return self._call(self._operations.delete, key)  # type: ignore[no-any-return]  # as above

    def clear(self) -> None:
        """Remove all fields; see `AsyncState.clear`."""
        self._call(self._operations.clear)

    def increment(self, key: str, by: float = 1) -> Any:
        """Add to a number; see `AsyncState.increment`."""
        return self._call(self._operations.increment, key, by)

    def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        """Write a field if it is still what it was; see `AsyncState.compare_and_set`."""
        return self._call(self._operations.compare_and_set, key, old, new)  # type: ignore[no-any-return]  # as above

    def lock(self, key: str = "", ttl: float = _LOCK_TTL_S, timeout: float | None = None) -> SyncStateLock:
        """Return a lock for `with`; see `AsyncState.lock`."""
        return SyncStateLock(AsyncStateLock(self._operations, key, ttl, timeout), self._call)

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._operations.store.app.portal.call(function, *args, hint="AsyncState")
