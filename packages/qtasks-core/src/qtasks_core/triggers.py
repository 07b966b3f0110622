"""Calling triggers: implementations are sorted once, then walked as plain tuples.

A trigger without an implementation is an empty tuple, so a call site pays one truth test for it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from qtasks_core.callers import compiled
from qtasks_core.errors import ConfigError, PluginError, QTasksError
from qtasks_core.forks import after_fork
from qtasks_core.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from inspect import Parameter

    from pluggy import PluginManager

    from qtasks_core.contract import Execution, TaskRecord
    from qtasks_core.hookspecs._kept import Kept

__all__ = ["Implementation", "Replace", "Triggers", "checked_arguments", "value_of"]

logger = logging.getLogger("qtasks.triggers")

_LOG_EVERY_S = 1.0
_REFUSED = ("wrapper", "hookwrapper", "historic")


class Replace(NamedTuple):
    """What a replacing trigger returns to set a value that may be None."""

    value: Any


def value_of(answer: Any) -> Any:
    """Return the value that an answer stands for: what is in a `Replace`, else the answer itself."""
    return answer.value if isinstance(answer, Replace) else answer


class Implementation(NamedTuple):
    """One plugin's function for one trigger."""

    plugin: str
    trigger: str
    function: Callable[..., Any]
    call: Callable[[Mapping[str, Any]], Any]
    """Calls the function with what it takes of the trigger's arguments."""
    is_async: bool
    kept: Kept | None
    who: str
    """Plugin and trigger, for messages."""


class _Freeze(NamedTuple):
    """Hot triggers that somebody calls, on a loop that may be closed without a word."""

    names: frozenset[str]
    loop: asyncio.AbstractEventLoop


class Triggers:
    """The triggers of one app: pluggy keeps and orders them, this class calls them."""

    def __init__(self) -> None:
        self._manager: PluginManager | None = None
        self._chains: dict[str, tuple[Implementation, ...]] = {}
        self._frozen: dict[int, _Freeze] = {}
        self._last_logged: dict[tuple[str, str], float] = {}
        self.failures: dict[tuple[str, str], int] = {}
        after_fork(self, Triggers._forget)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add the hook implementations of a plugin object (methods marked with `hookimpl`), all or none.

        Parameters:
            plugin: An object or a module.
            name: How messages call it; by default a module's name or the name of an object's class.

        Raises:
            ConfigError: It answers a trigger that does not exist or wants an argument that the trigger does not give;
                it is registered already, or another one has its name; it answers a hot trigger, and an engine or a
                worker that would not call it is at work.
        """
        manager = self.manager
        name = _name_of(plugin, name, manager)
        for trigger, function, options in _marked(plugin, manager):
            _check(f"plugin {name}", trigger, function, options, manager)
            self._check_not_frozen(f"plugin {name}", trigger)
        manager.register(plugin, name)
        self._chains.clear()

    @property
    def manager(self) -> PluginManager:
        """What keeps the plugins, with all triggers declared."""
        return self._manager or self._new_manager()

    def of(self, trigger: str) -> tuple[Implementation, ...]:
        """Return the implementations of a trigger in calling order: tryfirst, last registered first, trylast."""
        if self._manager is None:
            return ()
        chain = self._chains.get(trigger)
        if chain is None:
            chain = self._chains[trigger] = self._chain(trigger, self._manager)
        return chain

    def freeze(self, holder: object, names: Iterable[str]) -> dict[str, tuple[Implementation, ...]]:
        """Return the implementations of hot triggers by name; refuse further ones until `thaw`, or the loop's end.

        Parameters:
            holder: Who calls them from now on, on the running loop.
            names: The triggers.
        """
        freeze = self._frozen[id(holder)] = _Freeze(frozenset(names), asyncio.get_running_loop())
        return {name: self.of(name) for name in freeze.names}

    def is_frozen(self, trigger: str) -> bool:
        """Whether somebody who is at work calls this trigger as it was frozen."""
        return any(trigger in freeze.names and not freeze.loop.is_closed() for freeze in list(self._frozen.values()))

    def thaw(self, holder: object) -> None:
        """Take it that *holder* calls its triggers no more."""
        self._frozen.pop(id(holder), None)

    async def notify(self, chain: tuple[Implementation, ...], /, **values: Any) -> None:
        """Tell every implementation; one that raises is logged, at most once a second, and counted."""
        for impl in chain:
            try:
                answer = impl.call(values)
                if impl.is_async or isinstance(answer, CoroutineType):  # a decorator may hide that a function is async
                    await answer
            except Exception as error:  # noqa: BLE001  # an observer harms nothing
                self._failed(impl, error)

    def notify_now(self, chain: tuple[Implementation, ...], /, **values: Any) -> None:
        """Tell every implementation of a synchronous trigger, as `notify` does."""
        for impl in chain:
            try:
                _answer_now(impl, values)
            except Exception as error:  # noqa: BLE001  # as above
                self._failed(impl, error)

    def replace_now(self, chain: tuple[Implementation, ...], key: str, /, **values: Any) -> Any:
        """Hand a value through the implementations of a synchronous trigger, as `replace` does."""
        kept = chain[0].kept if chain else None
        before = () if kept is None else kept.read(values[key])
        for impl in chain:
            answer = _answer_now(impl, values)
            if answer is not None:
                values[key] = value_of(answer)
            if kept is not None:
                kept.check(before, values[key], impl.who)
        return values[key]

    def first_now(self, chain: tuple[Implementation, ...], /, **values: Any) -> Any:
        """Return the first answer to a synchronous trigger that is not None."""
        return next((answer for impl in chain if (answer := _answer_now(impl, values)) is not None), None)

    async def start(self, chain: tuple[Implementation, ...], /, **values: Any) -> None:
        """Tell every implementation of a `*_start` trigger; one that raises stops the start."""
        for impl in chain:
            await self._ask(impl, values)

    async def replace(self, chain: tuple[Implementation, ...], key: str, /, **values: Any) -> Any:
        """Hand a value from implementation to implementation and return the last one's.

        Parameters:
            chain: The implementations.
            key: Which of *values* is replaced: an implementation returns None to leave it, `Replace(x)` to set any x.
            values: The trigger's arguments by name.

        Raises:
            PluginError: One changed what has to stay as it is, such as the uuid; names plugin, trigger and field.
        """
        kept = chain[0].kept if chain else None
        before = () if kept is None else kept.read(values[key])
        for impl in chain:
            try:
                answer = impl.call(values)
                if impl.is_async or isinstance(answer, CoroutineType):
                    answer = await answer
            except Exception as error:
                _blame(impl, error)
                raise
            if answer is not None:
                values[key] = value_of(answer)
            if kept is not None:  # also when it returned None: records and drafts can be changed in place
                kept.check(before, values[key], impl.who)
        return values[key]

    async def replace_or_keep(
        self, chain: tuple[Implementation, ...], record: TaskRecord, loss: str, /, **values: Any
    ) -> TaskRecord:
        """Hand a record through, as `replace` does, where no plugin may stop what is done with it.

        Parameters:
            chain: The implementations.
            record: The record; it stays as it is.
            loss: What is done without them where one raises, for the log.
            values: The trigger's other arguments by name.
        """
        try:
            changed: TaskRecord = await self.replace(chain, "record", record=msgspec.structs.replace(record), **values)
        except Exception:
            logger.exception("task %s %s without what a plugin wanted", record.uuid, loss)
            return record
        return changed

    async def replace_pair(
        self, chain: tuple[Implementation, ...], keys: tuple[str, str], /, **values: Any
    ) -> tuple[Any, Any]:
        """Hand two values from implementation to implementation, as `replace` does with one; return the last ones.

        Parameters:
            chain: The implementations.
            keys: Which of *values* are replaced: an implementation returns a pair, or None to leave both.
            values: The trigger's arguments by name.

        Raises:
            PluginError: One returned something else than such a pair; names plugin and trigger.
        """
        first, second = keys
        for impl in chain:
            answer = await self._ask(impl, values)
            if answer is not None:
                values[first], values[second] = _pair(impl, answer)
        return values[first], values[second]

    async def replace_arguments(
        self, chain: tuple[Implementation, ...], execution: Execution, values: dict[str, Any]
    ) -> None:
        """Do the same with the arguments of a run, which each implementation finds there as the last one left them.

        Parameters:
            chain: The implementations.
            execution: The run.
            values: The trigger's arguments by name, but for args and kwargs.

        Raises:
            PluginError: One returned something else than a pair of args and kwargs; names plugin and trigger.
        """
        args, kwargs = values["args"], values["kwargs"] = execution.args, execution.kwargs
        for impl in chain:
            try:
                answer = impl.call(values)
                if type(answer) is not tuple and (impl.is_async or isinstance(answer, CoroutineType)):
                    answer = await answer
            except Exception as error:
                _blame(impl, error)
                raise
            if answer is None:
                continue
            if type(answer) is tuple and len(answer) == 2 and type(answer[0]) is tuple and answer[1] is kwargs:  # noqa: PLR2004  # a pair
                args = answer[0]  # as most are: nothing to look at, nothing to copy
            else:
                args, kwargs = _pair(impl, answer)
                args, kwargs = tuple(args), dict(kwargs)
                execution.kwargs = values["kwargs"] = kwargs
            execution.args = values["args"] = args

    async def first(self, chain: tuple[Implementation, ...], default: Any, /, **values: Any) -> Any:
        """Ask one implementation after the other; return the first answer that is not None, else *default*."""
        for impl in chain:
            answer = await self._ask(impl, values)
            if answer is not None:
                return value_of(answer)
        return default

    def _chain(self, trigger: str, manager: PluginManager) -> tuple[Implementation, ...]:
        from qtasks_core.hookspecs._marker import kept_by  # noqa: PLC0415  # pluggy is loaded for plugins only

        caller = getattr(manager.hook, trigger)
        given, kept = _arguments_of(trigger, manager), kept_by(caller.spec.function)
        return tuple(
            Implementation(
                impl.plugin_name,
                trigger,
                impl.function,
                compiled(impl.function, _taken(impl.function, given)),
                inspect.iscoroutinefunction(impl.function),
                kept,
                f"plugin {impl.plugin_name}: trigger {trigger}",
            )
            for impl in reversed(caller.get_hookimpls())
        )

    async def _ask(self, impl: Implementation, values: dict[str, Any]) -> Any:
        try:
            answer = impl.call(values)
            return await answer if impl.is_async or isinstance(answer, CoroutineType) else answer
        except Exception as error:
            _blame(impl, error)
            raise

    def _check_not_frozen(self, who: str, trigger: str) -> None:
        if self.is_frozen(trigger):
            raise ConfigError(
                f"{who}: {trigger} runs for each task and is frozen while the app is at work; "
                "add plugins before its first task is added and its worker starts, or after app.stop()"
            )

    def _failed(self, impl: Implementation, error: Exception) -> None:
        key = (impl.plugin, impl.trigger)
        self.failures[key] = self.failures.get(key, 0) + 1
        now = time.monotonic()
        if now - self._last_logged.get(key, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            self._last_logged[key] = now
            logger.error("%s raised %r", impl.who, error, exc_info=error)

    def _new_manager(self) -> PluginManager:
        from qtasks_core.plugins import new_manager  # noqa: PLC0415  # as above

        manager = self._manager = new_manager()
        return manager

    def _forget(self) -> None:
        self._frozen = {}


def _answer_now(impl: Implementation, values: dict[str, Any]) -> Any:
    try:
        answer = impl.call(values)
    except QTasksError:  # it says itself what is wrong
        raise
    except Exception as error:
        raise PluginError(f"{impl.who} raised {error!r}") from error
    if isinstance(answer, CoroutineType):  # a decorator may hide that a function is async
        answer.close()
        raise PluginError(f"{impl.who}: expected a value, got a coroutine")
    return answer


def _pair(impl: Implementation, answer: Any) -> tuple[Any, Any]:
    pair = value_of(answer)
    if impl.kept is not None:
        impl.kept.check((), pair, impl.who)
    first, second = pair
    return first, second


def _blame(impl: Implementation, error: Exception) -> None:
    """Say in an error whose it is: its traceback, and so the record of the task that it fails, has the note."""
    note = f"raised by {impl.who}"
    if note not in getattr(error, "__notes__", ()):  # one object may be raised again and again
        error.add_note(note)


def _name_of(plugin: object, name: str | None, manager: PluginManager) -> str:
    if manager.is_registered(plugin):
        raise ConfigError(f"plugin {manager.get_name(plugin)} is registered already")
    if name is not None:
        if manager.has_plugin(name):
            raise ConfigError(f"plugin {name}: another plugin of that name is registered already; choose another name")
        return name
    found = base = getattr(plugin, "__name__", None) or type(plugin).__qualname__
    count = 1
    while manager.has_plugin(found):
        count += 1
        found = f"{base} #{count}"
    return found


def _marked(plugin: object, manager: PluginManager) -> Iterator[tuple[str, Callable[..., Any], Mapping[str, Any]]]:
    """Yield the trigger, the function and the options of each of a plugin's hook implementations."""
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is not None:
            yield options.get("specname") or attribute, getattr(plugin, attribute), options


def _check(
    who: str, trigger: str, function: Callable[..., Any], options: Mapping[str, Any], manager: PluginManager
) -> None:
    from qtasks_core.hookspecs._marker import is_synchronous  # noqa: PLC0415  # as above

    for option in _REFUSED:
        if options.get(option):
            raise ConfigError(f"{who}: {trigger}: {option}=True is not supported; use a middleware")
    known = _known(manager)
    if trigger not in known:
        if options.get("optionalhook"):
            return
        raise ConfigError(f"{who}: there is no trigger {trigger!r}{suggestion(trigger, known)}")
    if inspect.iscoroutinefunction(function) and is_synchronous(getattr(manager.hook, trigger).spec.function):
        raise ConfigError(f"{who}: {trigger} is called where no event loop runs: expected a def, got an async def")
    checked_arguments(who, trigger, function, _arguments_of(trigger, manager))


def checked_arguments(who: str, what: str, function: Callable[..., Any], given: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of the given arguments a function takes.

    Parameters:
        who: Whose function it is, for messages.
        what: What calls it, for messages.
        function: A function or a coroutine function.
        given: The names of the arguments, each given by name.

    Raises:
        ConfigError: It wants another one, or is a generator function.
    """
    if not callable(function):
        raise ConfigError(f"{who}: expected a function, got {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{who}: {what}: expected a function or a coroutine function, got a generator function")
    for name, parameter in inspect.signature(function).parameters.items():
        if not _can_be_called_with(parameter, given):
            hint = _hint(name, given)
            raise ConfigError(f"{who}: {what} gives {', '.join(given)} by name, not {name!r}{hint}")
    return _taken(function, given)


def _can_be_called_with(parameter: Parameter, given: tuple[str, ...]) -> bool:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} or parameter.default is not parameter.empty:
        return True
    return parameter.name in given and parameter.kind is not parameter.POSITIONAL_ONLY


def _hint(name: str, given: tuple[str, ...]) -> str:
    if name == "self":
        return "; register an object of the class"
    return " by position" if name in given else suggestion(name, given)


def _taken(function: Callable[..., Any], given: tuple[str, ...]) -> tuple[str, ...]:
    """Return which arguments of a trigger a function takes; pluggy itself leaves out defaults and `**kwargs`."""
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return given
    by_name = {one.name for one in parameters if one.kind in {one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY}}
    return tuple(name for name in given if name in by_name)


def _known(manager: PluginManager) -> list[str]:
    return [name for name, caller in vars(manager.hook).items() if caller.has_spec()]


def _arguments_of(trigger: str, manager: PluginManager) -> tuple[str, ...]:
    spec = getattr(manager.hook, trigger).spec
    return tuple(spec.argnames)
