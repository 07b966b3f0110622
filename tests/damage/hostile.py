"""What a hostile or broken producer may send, and a worker that is kept busy with it over many examples."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from damage.bench import QUEUE, Bench, body_of
from qtasks.exceptions import ResultExpiredError
from qtasks_core.contract import Inspectable, Message
from qtasks_core.wire import MAGIC, frame, pack_message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["ARGUMENTS", "BODIES", "TASKS", "Siege", "mutated", "siege"]

DELAY_S = 0.03  # between the adding of a message and its taking, for the damage

# ---------------------------------------------------------------- what is sent

HEADERS = (  # lengths without end: texts, bytes, extensions, lists and mappings
    b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x05", b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xda\xff\xff", b"\x9f", b"\x8f", b"\xbf",
)  # fmt: skip
GOOD = (
    body_of("innocent", 7),
    body_of("innocent", number=7),
    body_of("untyped", [1, {"a": None}], key=2.5),
    pack_message(Message("innocent", b"\x91\x07", b"\x80", "msgpack", 1.5, 60.0, UUID(int=1), UUID(int=2), {"a": "b"})),
)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes], most: int = 3) -> bytes:
    """Take good bytes and damage them in up to *most* places."""
    raw = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(0, len(raw) - 1)))
        match draw(st.sampled_from(("flip", "cut", "header", "insert", "drop"))):
            case "flip" if raw:
                raw[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del raw[place:]
            case "header":
                header = draw(st.sampled_from(HEADERS))
                raw[place : place + len(header)] = header
            case "insert":
                raw[place:place] = draw(st.binary(min_size=1, max_size=4))
            case _:
                del raw[place : place + 1]
    return bytes(raw)


BODIES = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(frame),
    st.builds(lambda tail, rest: MAGIC + tail + rest, st.binary(min_size=4, max_size=4), st.sampled_from(GOOD)),
    mutated(st.sampled_from(GOOD)),
)

INTEGERS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    INTEGERS,
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=16)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5) | INTEGERS, inner)),
    max_leaves=12,
)
ARGUMENTS = st.one_of(
    st.tuples(
        st.lists(VALUES, max_size=3).map(msgspec.msgpack.encode),
        st.dictionaries(st.sampled_from(("value", "key", "extra")), VALUES, max_size=2).map(msgspec.msgpack.encode),
    ),
    st.tuples(VALUES.map(msgspec.msgpack.encode), VALUES.map(msgspec.msgpack.encode)),
    st.tuples(st.binary(max_size=60), st.binary(max_size=60)),
)

# ---------------------------------------------------------------- what it is sent to


@dataclasses.dataclass
class Point:
    x: int
    y: list[float] = dataclasses.field(default_factory=list)


class Order(msgspec.Struct):
    number: int
    lines: dict[str, Decimal] = {}


async def take_int(value: int) -> Any:
    return value


async def take_text(value: str, key: bytes = b"") -> Any:
    return value, key


async def take_moment(value: dt.datetime | None = None, key: UUID | None = None) -> Any:
    return value, key


async def take_many(*value: int, **extra: float) -> Any:
    return value, extra


async def take_records(value: Point | None = None, *, key: Order | None = None) -> Any:
    return value, key


async def take_shapes(value: tuple[int, str] | Literal["all"] = "all", key: set[str] | None = None) -> Any:
    return value, key


def take_in_thread(value: list[dict[str, Any]], key: Decimal = Decimal(0)) -> Any:
    return value, key


async def untyped(*value: Any, **extra: Any) -> Any:
    return value, extra


TASKS = (take_int, take_text, take_moment, take_many, take_records, take_shapes, take_in_thread, untyped)


# ---------------------------------------------------------------- and by whom it is taken


class Siege:
    """A worker under fire, on a loop that runs while an example is tried.

    Parameters:
        bench: The app.
        runner: Its loop.
    """

    def __init__(self, bench: Bench, runner: asyncio.Runner) -> None:
        self.bench = bench
        self.run: Callable[[Coroutine[Any, Any, Any]], Any] = runner.run

    def ends_of(self, bodies: list[bytes], damage: Callable[[UUID], None] | None = None) -> list[str]:
        """Send bodies; return how each ended, when all are settled, the queue is empty and an innocent task has run."""
        return list(self.run(self._ends_of(bodies, damage)))

    async def _ends_of(self, bodies: list[bytes], damage: Callable[[UUID], None] | None) -> list[str]:
        uuids = await self.bench.inject_many(bodies, delay_s=0.0 if damage is None else DELAY_S)
        if damage is not None:
            for uuid in uuids:
                damage(uuid)
        ends = [await self._end_of(uuid) for uuid in uuids]
        await self.bench.is_settled()
        assert 0 == (await self.bench.depth()).delayed
        assert isinstance(self.bench.broker, Inspectable)
        assert len(await self.bench.letters()) == await self.bench.broker.purge(QUEUE, dead=True)
        return ends

    async def _end_of(self, uuid: UUID) -> str:
        try:
            return (await self.bench.end_of(uuid)).status
        except ResultExpiredError:
            return "forgotten"  # a message may say that nobody asks for its result


@contextlib.contextmanager
def siege(url: str) -> Iterator[Siege]:
    """Run a worker with all of TASKS; what is unknown to it is dead after a moment."""
    with asyncio.Runner() as runner:
        bench = Bench(url, park_delay=0.002, unknown_ttl=0.005)
        for task in TASKS:
            bench.app.task(task)
        worker = bench.worker()
        runner.run(worker.__aenter__())
        try:
            yield Siege(bench, runner)
        finally:
            runner.run(worker.__aexit__(None, None, None))
