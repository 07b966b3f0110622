"""What components are built with: one object per app and key, whichever thread asks first."""

from __future__ import annotations

import threading
import time

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.context import AppContext, SharedObjects


def context(objects: SharedObjects, worker: str | None = None) -> AppContext:
    return AppContext("test", QueueConfig(), objects, worker)


def test_a_context_tells_what_a_component_needs() -> None:
    """Namespace, settings, the worker's name, the time."""
    before = time.time()
    client, worker = context(SharedObjects()), context(SharedObjects(), "worker-1")

    assert ("test", QueueConfig(), None) == (client.namespace, client.config, client.worker)
    assert "worker-1" == worker.worker
    assert before <= client.clock() <= time.time()


def test_tests_may_move_the_clock() -> None:
    """Of one engine, without touching the others'."""
    objects = SharedObjects()
    moved = context(objects)
    moved.clock = lambda: 17.0

    assert 17.0 == moved.clock()
    assert 17.0 != context(objects).clock()


def test_an_app_has_one_object_under_a_key() -> None:
    """Made on the first call; other keys and other apps have their own."""
    objects = SharedObjects()
    pool = context(objects).shared(("pool", "url"), list[int])

    assert pool is context(objects, "worker-1").shared(("pool", "url"), list[int])
    assert pool is not context(objects).shared(("pool", "other"), list[int])
    assert pool is not context(SharedObjects()).shared(("pool", "url"), list[int])


def test_none_is_an_object_like_any_other() -> None:
    """What make returned is kept, whatever it is."""
    objects, calls = SharedObjects(), list[int]()
    for _ in range(3):
        assert objects.get("key", lambda: calls.append(1)) is None

    assert [1] == calls


def test_one_that_could_not_be_made_is_tried_again() -> None:
    """The error is the caller's; nothing is kept of it."""
    objects = SharedObjects()
    with pytest.raises(ZeroDivisionError):
        objects.get("key", lambda: 1 // 0)

    assert 2 == objects.get("key", lambda: 2)


def test_an_object_may_ask_for_another_while_it_is_made() -> None:
    """A storage's pool that is made of the broker's."""
    objects = SharedObjects()

    assert [1] == objects.get("outer", lambda: [objects.get("inner", lambda: 1)])


def test_threads_get_the_same_object() -> None:
    """Made once, also when all ask in the same moment."""
    objects, made, found = SharedObjects(), list[object](), list[object]()
    start = threading.Barrier(16)

    def make() -> object:
        time.sleep(0.01)  # long enough for the others to ask too
        made.append(object())
        return made[-1]

    def ask() -> None:
        start.wait()
        found.append(objects.get("key", make))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(made)
    assert made * 16 == found
