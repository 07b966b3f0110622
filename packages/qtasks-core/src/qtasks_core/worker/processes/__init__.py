"""Tasks in processes of their own: spawned, warm, bounded, and killed when their time is over.

Nothing is pickled. A process is told, by its worker and when it starts, where the functions stand (module and qualified
name, as the worker's own definitions have them); a task is then a number in that list, and its arguments are the bytes
that the caller's serializer made. Results, errors, yielded values, progress marks and log records come back as data.

    executor.py    ProcessTaskExecutor, for a worker
    execution.py   a run whose arguments stay bytes here
    pool.py        which process runs what, and who waits for one
    process.py     one process, seen by its worker
    launch.py      how a process is started
    places.py      where functions stand: asked in the worker, found in the process
    messages.py    what is said between the two
    failures.py    exceptions, as they travel
    child.py       the process: its life
    calling.py     the process: one run
    link.py        the process: its end of the connection
    signals.py     the process: what it does not listen to
    logs.py        log records, sent and received
"""

from __future__ import annotations

from qtasks_core.worker.processes.executor import ProcessTaskExecutor

__all__ = ["ProcessTaskExecutor"]
