"""Names: namespaces, task ids in the order of time, worker names, URLs fit to print."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import time
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtasks_core.errors import ConfigError
from qtasks_core.naming import mask_url, new_uuid, new_worker_name, slug


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("QueueTasks", "queuetasks"),
        ("My App", "my-app"),
        ("  my__app!! v2 ", "my-app-v2"),
        ("a:b{c}", "a-b-c"),
        ("já", "j"),
    ],
)
def test_a_namespace_is_fit_for_keys_and_files(name: str, expected: str) -> None:
    """Lower case, digits and single hyphens."""
    assert expected == slug(name)


@given(st.text())
def test_a_namespace_is_stable(name: str) -> None:
    """Any name gives a namespace that is its own, or is refused."""
    try:
        namespace = slug(name)
    except ConfigError:
        assert not any(one in "abcdefghijklmnopqrstuvwxyz0123456789" for one in name.lower())
    else:
        assert namespace == slug(namespace)
        assert namespace.isascii()


@pytest.mark.parametrize("name", ["", "---", "ЖЖ"])
def test_a_name_of_which_nothing_is_left_is_refused(name: str) -> None:
    """Two such apps would share everything they keep on a server."""
    with pytest.raises(ConfigError) as caught:
        slug(name)

    assert f"name: expected a text with at least one of a-z and 0-9, got {name!r}" == str(caught.value)


def test_task_ids_are_uuids_of_version_7() -> None:
    """Version and variant as RFC 9562 has them; the first 48 bits are milliseconds."""
    before = time.time_ns() // 1_000_000
    ids = [new_uuid() for _ in range(1000)]
    after = time.time_ns() // 1_000_000

    assert {(7, RFC_4122)} == {(one.version, one.variant) for one in ids}
    assert 1000 == len(set(ids))
    assert all(before <= one.int >> 80 <= after for one in ids)


def test_task_ids_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later millisecond is a larger id, whatever the random bits are."""
    now = time.time_ns()
    ids = []
    for step in range(100):
        monkeypatch.setattr(time, "time_ns", lambda step=step: now + step * 1_000_000)
        ids.append(new_uuid())

    assert sorted(ids) == ids


def test_a_task_id_is_a_uuid_as_any_other() -> None:
    """Equal to, and hashed, written, copied and pickled as the one that Python makes of the same number."""
    made = new_uuid()
    same = UUID(int=made.int)

    assert (same, hash(same), str(same), same.bytes) == (made, hash(made), str(made), made.bytes)
    assert same.is_safe is made.is_safe
    assert made == pickle.loads(pickle.dumps(made)) == copy.deepcopy(made)  # noqa: S301  # its own words


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_makes_other_ids() -> None:
    """What is random is drawn for many ids at once: a child must not go on with its parent's."""
    program = (
        "import os\n"
        "from qtasks_core.naming import new_uuid\n"
        "new_uuid()\n"
        "pid = os.fork()\n"
        "os.write(1, ''.join(f'{new_uuid().int & (1 << 62) - 1:x} ' for _ in range(100)).encode())\n"
        "pid and os.waitpid(pid, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    assert 200 == len(set(done.stdout.split()))


def test_worker_names_differ_and_name_the_process() -> None:
    """Two workers of one process have two names; both say where they are."""
    first, second = new_worker_name(), new_worker_name()

    assert first != second
    assert f"-{os.getpid()}-" in first


def test_a_strange_host_name_makes_a_plain_worker_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker names are parts of keys and file names."""
    monkeypatch.setattr("socket.gethostname", lambda: "my.host_1!")
    assert new_worker_name().startswith("my-host-1-")
    monkeypatch.setattr("socket.gethostname", lambda: "...")
    assert new_worker_name().startswith("host-")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///qtasks.db", "sqlite:///qtasks.db"),
        ("memory://", "memory://"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user@host", "redis://user@host"),
        ("redis://user:secret@host:6379/0?db=1", "redis://user:***@host:6379/0?db=1"),
        ("redis://:secret@host", "redis://:***@host"),
        ("amqp://user:se/cr?et@#x@host/vhost", "amqp://user:***@host/vhost"),
        ("amqp://u:secret@one,amqp://u:secret@two", "amqp://u:***@two"),
        ("redis://host/0?password=secret&db=1", "redis://host/0?password=***&db=1"),
        ("redis+sentinel://a/b?sentinel_password=secret", "redis+sentinel://a/b?sentinel_password=***"),
        ("kafka://host?db=1&TOKEN=secret#part", "kafka://host?db=1&TOKEN=***#part"),
        ("sqlite:////tmp/a:b@c.db", "sqlite:////tmp/a:b@c.db"),
        ("redis://[::1", "redis://[::1"),
        ("//user:secret@host", "//user:***@host"),
        ("no url at all", "no url at all"),
    ],
)
def test_a_url_is_printed_without_its_password(url: str, expected: str) -> None:
    """Also a password with characters that should have been escaped, and one that is a parameter."""
    assert expected == mask_url(url)


@given(st.text(min_size=1).map(lambda text: f"<{text}>"))
def test_no_password_is_ever_printed(password: str) -> None:
    """Whatever it is made of."""
    assert password not in mask_url(f"redis://user:{password}@host:6379/0")
