"""All subjects, and how each is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from environments import Needs

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["REDIS_PEERS", "SUBJECTS", "Subject"]


class Subject(NamedTuple):
    """A program in subjects/.

    Parameters:
        name: Its name; what stands before the first _ is the kind of server.
        distribution: What it presses.
        measures: Those that it has.
        note: How it is set up.
        needs: What its own environment must have; None: the running one has it.
        fill: How many times more tasks than others it gets, so that a measure takes a second.
    """

    name: str
    distribution: str
    measures: Sequence[str]
    note: str
    needs: Needs | None = None
    fill: int = 1

    @property
    def server(self) -> str:
        """The kind of server."""
        return self.name.partition("_")[0]


ALL = ("enqueue", "drain", "round_trip")
ON_REDIS = ("enqueue", "bulk", "drain", "round_trip")
RATES = frozenset({"enqueue", "bulk", "drain"})
HIREDIS = "redis[hiredis]"
LOOP = "uvloop"  # whatever runs on asyncio gets the fastest loop, as ours does

SUBJECTS: Sequence[Subject] = (
    Subject("sqlite_floor", "qtasks-core", ("enqueue", "drain"), "bare sqlite3, FULL, 50 a commit"),
    Subject("sqlite_qtasks", "qtasks", (*ALL, "enqueue_many", "due"), "FULL, results stored, 100 slots"),
    Subject("sqlite_huey", "huey", ALL, "fsync, results stored, 8 threads"),
    Subject("sqlite_honker", "honker", ALL, "NORMAL, results stored, 8 workers"),
    Subject("memory_qtasks", "qtasks", ("due",), "in the worker's process"),
    Subject("redis_floor", "redis", ON_REDIS, "bare redis-py, 50 a script, one asyncio.Task a run", fill=5),
    Subject("redis_qtasks", "qtasks-redis", (*ON_REDIS, "due", "pair", "deep"), "as it comes, 100 slots", fill=5),
    Subject(
        "redis_saq",
        "saq",
        ON_REDIS,
        "retries, swept each 5 s; 100 slots",
        Needs(("saq[redis,hiredis]", "typing_extensions", LOOP)),
    ),
    Subject(
        "redis_taskiq",
        "taskiq-redis",
        ON_REDIS,
        "streams, acknowledged when saved, claimed after 10 s; 100 slots",
        Needs(("taskiq", "taskiq-redis", HIREDIS, LOOP)),
    ),
    Subject(
        "redis_dramatiq",
        "dramatiq",
        ON_REDIS,
        "heartbeat 10 s; 8 threads",
        Needs(("dramatiq[redis]", HIREDIS)),
    ),
    Subject("redis_arq", "arq", ON_REDIS, "job_timeout 1 s, so back after 11 s; 100 slots", Needs(("arq", LOOP))),
    Subject(
        "redis_celery",
        "celery",
        ON_REDIS,
        "acks_late, visibility_timeout 10 s; 8 threads",
        Needs(("celery[redis]", HIREDIS)),
    ),
    Subject("redis_streaq", "streaq", ON_REDIS, "claimed after 10 s; 100 slots", Needs(("streaq", LOOP))),
    Subject(
        "redis_ardiq",
        "ardiq",
        ON_REDIS,
        "worker in Rust, Python 3.12 or newer, claimed after 10 s; 100 slots",
        Needs(("ardiq", LOOP), (3, 12)),
        fill=3,
    ),
)
REDIS_PEERS = tuple(one.name for one in SUBJECTS if one.server == "redis" and one.needs is not None)
