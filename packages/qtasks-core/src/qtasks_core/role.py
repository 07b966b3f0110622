"""What this process is there for: a pool process imports an app for its functions alone."""

from __future__ import annotations

__all__ = ["become_pool_process", "is_pool_process", "refuse_worker"]

_roles: set[str] = set()


def become_pool_process() -> None:
    """Remember that this process runs single tasks for a worker."""
    _roles.add("pool")


def is_pool_process() -> bool:
    """Return whether this process runs single tasks for a worker."""
    return "pool" in _roles


def refuse_worker() -> None:
    """Stop a worker that would begin in the process of another worker's pool.

    Raises:
        RuntimeError: This is one.
    """
    if is_pool_process():
        raise RuntimeError(
            "a worker was started while a process of its pool imported the app: "
            'put what starts it, as run_forever(), under `if __name__ == "__main__":`'
        )
