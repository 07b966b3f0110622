"""Run a worker for a long time, with tasks that end in every way, and show what its process holds: it must not grow.

    python benchmarks/endurance.py [--tasks 200000] [--url sqlite:////tmp/endurance.db]

Exit code 1: a task ended otherwise than it should. Whether the figures are flat is for the reader, or a test, to say.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from endurance_gauge import Checkpoint, take_checkpoint
from endurance_load import Load

EARLY = 0.2  # of the run: by then all caches are filled
HEADER = f"{'tasks':>8} {'s':>7} {'RSS MiB':>8} {'blocks':>8} {'objects':>8} {'asyncio':>8} {'threads':>8} {'files':>6}"
HEADER += f" {'server MiB':>10}"
ROW = "{:8d} {:7.1f} {:8.1f} {:8d} {:8d} {:8d} {:8d} {:6d} {:10.1f}"


def main() -> int:
    options = _options()
    _log_to_nowhere()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/endurance.db"
        load = Load(url, Path(folder))
        print(f"{options.tasks:,} tasks on {url.partition(':')[0]}\n{HEADER}", flush=True)
        checkpoints = asyncio.run(_run(load, options.tasks, options.wave, options.checkpoints))
    for name, count in sorted(load.counts.items()):
        print(f"{count:8d} {name}")
    for fault in load.faults[:20]:
        print(f"FAULT {fault}")
    figures = {
        "checkpoints": [checkpoint._asdict() for checkpoint in checkpoints],
        "counts": load.counts,
        "faults": load.faults,
    }
    if options.json:
        print(json.dumps(figures))
    return 1 if load.faults else 0


async def _run(load: Load, tasks: int, wave: int, checkpoints: int) -> list[Checkpoint]:
    """Run waves; measure after the first part of the run, at its end, and in between."""
    start = time.monotonic()
    taken: list[Checkpoint] = []
    try:
        await load.start()
        for first in range(0, tasks, wave):
            count = min(wave, tasks - first)
            await load.run_wave(first, count)
            done = first + count
            if done >= tasks * (EARLY + (1 - EARLY) * len(taken) / (checkpoints - 1)):
                await load.forget()
                taken.append(take_checkpoint(done, time.monotonic() - start, load.url))
                print(ROW.format(*taken[-1]), flush=True)
        await load.stop()
    finally:
        load.close()
    return taken


def _log_to_nowhere() -> None:
    """Write all records, tracebacks too, as a real worker does."""
    logger = logging.getLogger("qtasks")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(open(os.devnull, "w", encoding="utf-8")))  # noqa: PTH123, SIM115  # till the end


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200_000, help="how many in all (default: %(default)s)")
    parser.add_argument("--url", help="the server; any (default: a SQLite file that is deleted)")
    parser.add_argument("--wave", type=int, default=2_000, help="tasks at a time (default: %(default)s)")
    parser.add_argument("--checkpoints", type=int, default=5, help="2 or more (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print all figures as the last line, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
