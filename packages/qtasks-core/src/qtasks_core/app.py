"""An app: what both faces of `QueueTasks` share, written once."""

from __future__ import annotations

import asyncio
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from qtasks_core.codec_registry import CodecRegistry
from qtasks_core.components import Components, Sources, build_components
from qtasks_core.config import QueueConfig, RunOptions
from qtasks_core.context import AppContext, SharedObjects
from qtasks_core.contract import Evicts
from qtasks_core.definition import TaskDefinition, TaskRegistry
from qtasks_core.discovery import load_plugins
from qtasks_core.engine import Engine
from qtasks_core.errors import ConfigError, ResultExpiredError
from qtasks_core.extending import extended
from qtasks_core.forks import after_fork, keep_for_ever
from qtasks_core.layers import Middlewares, wraps_runs
from qtasks_core.middlewares import checked_middlewares
from qtasks_core.naming import slug
from qtasks_core.outgoing import draft_call
from qtasks_core.portal import Portal
from qtasks_core.registration import Registration
from qtasks_core.role import refuse_worker
from qtasks_core.shared import SHARED
from qtasks_core.triggers import Triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from qtasks_core.aio import QueueTasks
    from qtasks_core.contract import (
        Broker,
        GlobalConfig,
        Results,
        Serializer,
        Starter,
        TaskExecutor,
        TaskRecord,
    )
    from qtasks_core.middlewares import TaskMiddleware
    from qtasks_core.options import CallOptions, Draft
    from qtasks_core.task import TaskSnapshot
    from qtasks_core.worker.life import WorkerLife

__all__ = ["App", "AppFace", "Wiring"]

T = TypeVar("T", bound="TaskSnapshot[Any]")


class Wiring(NamedTuple):
    """What an app is connected to, and its connections."""

    sources: Sources
    objects: SharedObjects
    engines: dict[asyncio.AbstractEventLoop, Engine]
    spare: Components | None


class App:
    """Settings, tasks and components of one app, and its engines: one for each event loop that uses it.

    Parameters:
        name: Names the app; its slug is the namespace of everything it keeps on servers.
        sources: URLs or instances of its components.
        config: Settings; None reads the environment.
        starter: Runs a worker process; None takes the default.
        task_executor: Runs tasks; None takes the default.
        serializer: Writes arguments and results, or the name of its codec; None is msgpack.

    Raises:
        ConfigError: A URL or a setting is wrong, or a package is missing.
    """

    def __init__(
        self,
        name: str,
        sources: Sources,
        config: QueueConfig | None,
        starter: Starter | None = None,
        task_executor: TaskExecutor | type[TaskExecutor] | None = None,
        *,
        serializer: Serializer | str | None = None,
    ) -> None:
        self.name = name
        self.namespace = slug(name)
        self.config = QueueConfig.from_env() if config is None else config
        self.codecs = CodecRegistry(serializer)
        self.registry = TaskRegistry()
        self.middlewares = Middlewares(self.registry)
        self.triggers = Triggers()
        self.sources = sources.resolved()
        self.task_executor = task_executor
        self.face: AppFace | None = None
        self.imported_as: tuple[str, str] | None = None
        """Module and attribute by which the command line found it; None in other programs."""
        self.dependency_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        """See `Registration.dependency_overrides`."""
        self._starter = starter
        self._objects = SharedObjects()
        self._lock = threading.Lock()
        self._workers: dict[WorkerLife, None] = {}
        self._engines: dict[asyncio.AbstractEventLoop, Engine] = {}
        self._spare: Components | None = self.build_components(self.new_context())
        self.portal = Portal(f"qtasks {self.namespace}", self._close_portal)
        after_fork(self, App._forget)

    @property
    def broker_url(self) -> str | None:
        """The broker's URL; None when an instance was given."""
        return self.sources.broker_url

    @property
    def storage_url(self) -> str | None:
        """The storage's own URL, when it has one."""
        return self.sources.storage_url

    @property
    def global_config_url(self) -> str | None:
        """The global config's own URL, when it has one."""
        return self.sources.global_config_url

    @property
    def tasks(self) -> Mapping[str, TaskDefinition]:
        """The registered tasks by name."""
        return self.registry.as_mapping()

    @cached_property
    def aio(self) -> QueueTasks:
        """The awaitable face."""
        from qtasks_core.aio import QueueTasks  # noqa: PLC0415  # the faces are built upon this module

        return QueueTasks.of(self)

    def describe(self) -> dict[str, str]:
        """Return each component's URL, its password masked, or its class's name."""
        return self.sources.describe()

    def new_context(self, worker: str | None = None) -> AppContext:
        """Return what components are built with."""
        return AppContext(self.namespace, self.config, self._objects, worker)

    def build_components(self, context: AppContext) -> Components:
        """Build broker, storage and global config; starts none of them."""
        return build_components(self.sources, context)

    @property
    def wiring(self) -> Wiring:
        """What it is connected to; another may be put in its place, and this one back (`qtasks.testing`)."""
        return Wiring(self.sources, self._objects, self._engines, self._spare)

    @wiring.setter
    def wiring(self, wiring: Wiring) -> None:
        with self._lock:
            self.sources, self._objects, self._engines, self._spare = wiring

    def new_engine(self, worker: str | None = None) -> Engine:
        """Make an engine on the running loop; it becomes what the loop uses when the loop has none."""
        loop = asyncio.get_running_loop()
        context = self.new_context(worker)
        with self._lock:
            spare, self._spare = (None, self._spare) if worker else (self._spare, None)
            engine = Engine(
                self.face,
                spare or self.build_components(context),
                context,
                self.codecs.chosen,
                self.triggers,
                middlewares=self.middlewares,
            )
            self._engines.setdefault(loop, engine)
        return engine

    def engine(self) -> Engine:
        """Return the engine of the running loop."""
        found = self._engines.get(asyncio.get_running_loop())
        if found is not None:
            return found
        with self._lock:
            for loop in [loop for loop in self._engines if loop.is_closed()]:
                del self._engines[loop]
        return self.new_engine()

    async def close_engine(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Stop the engine of a loop, by default of the running one; what was added is written first.

        A worker's engine is left alone: it is stopped with its worker.
        """
        loop = loop or asyncio.get_running_loop()
        with self._lock:
            if any(life.engine is self._engines.get(loop) for life in self._workers):
                return
            engine = self._engines.pop(loop, None)
        if engine is not None:
            await engine.stop()

    def enter(self, life: WorkerLife) -> None:
        """Take note of a worker that begins in this process."""
        with self._lock:
            self._workers[life] = None

    def leave(self, life: WorkerLife) -> None:
        """Take note of a worker's end; what its loop used of it is another worker's, or made anew."""
        with self._lock:
            self._workers.pop(life, None)
            if self._engines.get(life.loop) is life.engine:
                del self._engines[life.loop]
                others = [other.engine for other in self._workers if other.loop is life.loop]
                if others:
                    self._engines[life.loop] = others[0]

    def serializer(self, codec: str) -> Serializer:
        """Return the serializer of a codec.

        Raises:
            UnknownWireError: It is not installed.
        """
        return self.codecs.of(codec)

    def declare(self, definition: TaskDefinition) -> TaskDefinition:
        """Register a task; return it as plugins want it.

        Raises:
            RegistrationError: Its name is taken; shows both places.
            PluginError: A plugin failed, changed the task's name or function, or provides what is no parameter.
        """
        self.registry.check(definition)
        definition = self.extended(definition)
        self.keep(definition)
        return definition

    def extended(self, definition: TaskDefinition) -> TaskDefinition:
        """Return a task as plugins want it; see `declare`."""
        return extended(definition, self.triggers, self.face)

    def keep(self, definition: TaskDefinition) -> None:
        """Register a task that is as plugins want it."""
        self.registry.add(definition)
        self.middlewares.note(definition.middlewares)

    def add_plugin(
        self, plugin: object, trigger_names: Sequence[str] | None = None, component: str | None = None
    ) -> None:
        """Let an object answer triggers; see `Registration.add_plugin`."""
        from qtasks_core.plugins import add_plugin  # noqa: PLC0415  # pluggy is loaded for plugins only

        add_plugin(self.triggers, plugin, trigger_names, component)

    def begin(self, face: AppFace) -> None:
        """Take the installed plugins and the shared tasks, when all else is there.

        Parameters:
            face: What plugins are told is the app.

        Raises:
            PluginError: A plugin is broken, and `QTASKS_PLUGINS_STRICT` is set; or it was asked for and is not there.
        """
        self.face = face
        load_plugins(self.triggers)
        self.triggers.notify_now(self.triggers.of("qtasks_configure"), qtasks=face)
        SHARED.include_in(self)

    def add_middleware(self, middleware: TaskMiddleware | type[TaskMiddleware]) -> None:
        """Put a middleware around all tasks; see `Registration.add_middleware`."""
        try:
            (one,) = checked_middlewares([middleware])
        except ConfigError as error:
            raise ConfigError(f"add_middleware: {error}") from None
        if wraps_runs(one) and self.triggers.is_frozen("task_executor_middlewares_execute"):
            raise ConfigError(
                f"add_middleware: {one!r} goes around runs, which are compiled while a worker is at work; "
                "add it before the worker starts, or after app.stop()"
            )
        self.middlewares.add(one)

    def draft(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: CallOptions | None = None,
        definition: TaskDefinition | None = None,
    ) -> Draft:
        """Make the draft of a call; checks it against the function's signature when the task is registered here.

        Raises:
            TypeError: The function could not be called like this.
        """
        definition = definition or self.registry.get(name)
        if definition is not None:
            definition.signature.check(args, kwargs)
        chosen: CallOptions = options or {}
        now = self.new_context().clock() if "expires" in chosen else 0.0
        return draft_call(name, args, kwargs, options=chosen, definition=definition, config=self.config, now=now)

    async def add(self, draft: Draft) -> TaskRecord:
        """Send a task through the running loop's engine."""
        return await self.engine().add(draft)

    async def add_many(self, drafts: Sequence[Draft]) -> list[TaskRecord | Exception]:
        """Send many tasks through the running loop's engine."""
        return await self.engine().add_many(drafts)

    async def record(self, uuid: UUID) -> TaskRecord:
        """Return a task's record.

        Raises:
            ResultExpiredError: Nothing is known of it.
        """
        found = await self.engine().get(uuid)
        if found is None:
            raise ResultExpiredError(f"nothing is known of task {uuid}: it expired, or never was")
        return found

    async def get(self, uuid: UUID, make: Callable[[App, TaskRecord], T]) -> T:
        """Return a task by its id, as plugins show it (`qtasks_get`).

        Parameters:
            uuid: Its id.
            make: Of which form: `Task` or `BlockingTask`.

        Raises:
            ResultExpiredError: Nothing is known of it.
        """
        task = make(self, await self.record(uuid))
        chain = self.triggers.of("qtasks_get")
        if not chain:
            return task
        values = {"qtasks": self.face, "broker": self.engine().broker, "task": task}
        changed: T = await self.triggers.replace(chain, "task", **values)
        return changed

    async def evict(self, worker: str) -> int:
        """Take a dead or hung worker's deliveries away at once; return how many, 0 where the broker cannot.

        Parameters:
            worker: Its name.
        """
        engine = self.engine()
        await engine.ensure_started()
        return await engine.broker.evict(worker) if isinstance(engine.broker, Evicts) else 0

    @property
    def starter(self) -> Starter:
        """What runs a worker process."""
        if self._starter is None:
            from qtasks_core.starter import DefaultStarter  # noqa: PLC0415  # clients never need it

            self._starter = DefaultStarter()
        return self._starter

    def run(self, options: RunOptions | None = None) -> int:
        """Run a worker in this process until it is stopped; return the exit code.

        Parameters:
            options: What differs from the settings.

        Raises:
            RuntimeError: This process belongs to the pool of another worker, and only imports the app.
        """
        refuse_worker()
        return self.starter.run(self, RunOptions() if options is None else options)

    def stop_worker(self) -> None:
        """Ask the workers that run in this process, if any, to stop; may be called from any thread."""
        for life in list(self._workers):
            life.ask_to_stop()

    def close_portal(self) -> None:
        """Stop the workers on the portal's loop and close its connections."""
        self.portal.close(max((life.longest_stop_s for life in list(self._workers)), default=0.0))

    async def _close_portal(self, loop: asyncio.AbstractEventLoop) -> None:
        for life in [life for life in self._workers if life.loop is loop]:
            await life.stopped()
        await self.close_engine(loop)

    def _forget(self) -> None:
        keep_for_ever((self._engines, self._spare, self._workers))
        self._lock = threading.Lock()
        self._engines = {}
        self._spare = None
        self._workers = {}


class AppFace(Registration):
    """What the blocking and the async face of an app have in common.

    Parameters:
        name: Names the app; two apps of one name on one server share queues.
        broker_url: The broker; by default `QTASKS_BROKER_URL`, else `sqlite:///qtasks.db`.
        storage_url: The storage; by default the broker's server.
        global_config_url: The global config; by default the broker's server, else the storage's.
        broker: An instance in place of a URL.
        storage: The same.
        global_config: The same.
        starter: Runs a worker process.
        task_executor: Runs tasks: an executor, or its class.
        config: Settings; by default read from the environment.
        serializer: What arguments and results are written with: "msgpack" (the default), "json", or a Serializer.

    Raises:
        ConfigError: A URL or a setting is wrong, or a package is missing.
    """

    def __init__(
        self,
        name: str = "QueueTasks",
        broker_url: str | None = None,
        *,
        storage_url: str | None = None,
        global_config_url: str | None = None,
        broker: Broker | None = None,
        storage: Results | None = None,
        global_config: GlobalConfig | None = None,
        starter: Starter | None = None,
        task_executor: TaskExecutor | type[TaskExecutor] | None = None,
        config: QueueConfig | None = None,
        serializer: Serializer | str | None = None,
    ) -> None:
        sources = Sources(broker_url, storage_url, global_config_url, broker, storage, global_config)
        self.core = App(name, sources, config, starter, task_executor, serializer=serializer)
        self.core.begin(self)

    @classmethod
    def of(cls, core: App) -> Self:
        """Return this face of an app that was made with the other one."""
        face = cls.__new__(cls)
        face.core = core
        return face

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.core.name!r} {self.core.describe()['broker']}>"

    @property
    def name(self) -> str:
        """The app's name."""
        return self.core.name

    @property
    def config(self) -> QueueConfig:
        """The app's settings."""
        return self.core.config

    @property
    def tasks(self) -> Mapping[str, TaskDefinition]:
        """The registered tasks by name."""
        return self.core.tasks

    @property
    def starter(self) -> Starter:
        """What runs a worker process."""
        return self.core.starter

    def add_serializer(self, serializer: Serializer) -> None:
        """Install a codec: this process can read what others have written with it.

        Parameters:
            serializer: With a name of its own in `codec`; see `qtasks_core.contract.Serializer`.

        Raises:
            ConfigError: It is no serializer, or its codec is installed already.
        """
        self.core.codecs.add(serializer)

    def run_forever(self, *, concurrency: int | None = None, queues: Sequence[str] | None = None) -> int:
        """Run a worker in this process until it is stopped by a signal; return the exit code.

        Parameters:
            concurrency: Tasks at the same time; the setting by default.
            queues: Queues to take from; the setting by default.

        Raises:
            ConfigError: One of them is of the wrong type or out of range.
        """
        return self.core.run(self._run_options(concurrency=concurrency, queues=queues))

    def _run_options(
        self,
        *,
        concurrency: int | None = None,
        queues: Sequence[str] | None = None,
        queue_concurrency: Mapping[str, int] | None = None,
        name: str | None = None,
        shutdown_timeout: float | None = None,
    ) -> RunOptions:
        # A list becomes a tuple there, and a text is refused: tuple("mail") would be four queues.
        return RunOptions(
            concurrency=concurrency,
            queues=queues,  # type: ignore[arg-type]
            queue_concurrency=queue_concurrency,  # type: ignore[arg-type]
            worker_name=name,
            shutdown_timeout=shutdown_timeout,
        )
