"""A worker that has run for long holds no more than one that has run for a while, and every task ended as it should."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 20_000
BETWEEN = 16_000  # tasks between the two checkpoints
# Waiters, results and dead letters are gone or at their bound at both checkpoints, and the loop is idle: what is left
# are caches, which are full after the first 4,000 tasks, and what the C library does with its memory.
MOST_BLOCKS = BETWEEN // 2  # one small object kept of every other task; up to two thousand come from caches
MOST_RSS_MIB = 8  # 500 bytes kept of each task; a task's message and record have three times as much
MOST_SERVER_MIB = 1  # 65 bytes kept of each task in Redis


@pytest.mark.timeout(240)
@pytest.mark.parametrize("server", ["memory", "sqlite", "redis"])
def test_nothing_grows_with_the_number_of_tasks(
    server: str, root: Path, request: pytest.FixtureRequest, record_property: Any
) -> None:
    """Memory, asyncio tasks, threads and files are flat, with errors, crashes and give-backs; no task is lost."""
    url = {"memory": ["--url", "memory://"], "sqlite": []}.get(server)
    if url is None:
        url = ["--url", request.getfixturevalue("redis_server")().url]
    command = [sys.executable, "benchmarks/endurance.py", "--tasks", str(TASKS), "--checkpoints", "2", "--json", *url]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    figures = json.loads(done.stdout.splitlines()[-1])
    early, end = figures["checkpoints"]
    counts = figures["counts"]
    record_property("growth", {name: end[name] - early[name] for name in early})

    assert ([], 0, "") == (figures["faults"], done.returncode, done.stderr)
    assert (TASKS - BETWEEN, TASKS) == (early["tasks"], end["tasks"])
    waves = 10
    per_wave = 2 if server == "memory" else 4
    assert TASKS + per_wave * waves == sum(count for name, count in counts.items() if name.startswith("ended: "))
    assert (0 if server == "memory" else waves) == counts.get("workers killed with -9", 0)
    assert waves * 2 <= counts["deliveries taken away by an eviction"]
    assert waves // 2 <= counts["visitors that gave tasks back"]  # others found their tasks just ended
    assert [early[name] for name in ("asyncio_tasks", "threads", "files")] == [
        end[name] for name in ("asyncio_tasks", "threads", "files")
    ]
    assert MOST_BLOCKS > end["blocks"] - early["blocks"]
    assert MOST_RSS_MIB > end["rss_mib"] - early["rss_mib"]
    assert MOST_SERVER_MIB > end["server_mib"] - early["server_mib"]
