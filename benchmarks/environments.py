"""Environments of the peers: each has its own, since what they ask of the client library cannot all be had at once.

They live in QTASKS_BENCH_CACHE, or ~/.cache/qtasks-bench, and are made when they are missing; delete that folder to get
newer releases.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CannotMakeError", "Needs", "python_with", "version_in"]

CACHE = "QTASKS_BENCH_CACHE"
NAMES = ("python3.14", "python3.13", "python3.12")


class Needs(NamedTuple):
    """What an environment must have.

    Parameters:
        requirements: As pip reads them.
        python: The oldest version; the running one is taken where it is new enough.
    """

    requirements: Sequence[str]
    python: tuple[int, int] = (3, 11)


class CannotMakeError(Exception):
    """An environment cannot be had; its message says why, in one line."""


def python_with(name: str, needs: Needs, told: Callable[[str], None]) -> str:
    """Return the path of a Python that has what is needed; make its environment when it is not there.

    Parameters:
        name: What the environment is for.
        needs: What it must have.
        told: Hears what is done.

    Raises:
        CannotMakeError: There is no such Python, or the installation failed.
    """
    interpreter = _interpreter(needs.python)
    wanted = hashlib.sha256(repr((interpreter, sorted(needs.requirements))).encode()).hexdigest()[:8]
    folder = _cache() / f"{name}-{wanted}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists():
        told(f"installing {' '.join(needs.requirements)} into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        _call(interpreter, "-m", "venv", str(folder))
        _call(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs.requirements)
        stamp.touch()
    return str(python)


def version_in(python: str, distribution: str) -> str | None:
    """Return the version of a distribution that a Python has; None when it has it not."""
    program = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    done = subprocess.run([python, "-c", program, distribution], capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.strip()


def _cache() -> Path:
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "qtasks-bench")


def _interpreter(least: tuple[int, int]) -> str:
    """Return the running Python, or the first of the usual names that is new enough."""
    if sys.version_info >= least:
        return sys.executable
    for name in NAMES:
        found = subprocess.run(
            [shutil.which(name) or sys.executable, "-c", f"import sys; sys.version_info >= {least} or sys.exit(1)"],
            env=_with_all_pythons(),
            capture_output=True,
            check=False,
        )
        if not found.returncode:
            return _path_of(name)
    version = ".".join(map(str, least))
    raise CannotMakeError(f"needs Python {version}, and none of {', '.join(NAMES)} runs here")


def _path_of(name: str) -> str:
    command = [shutil.which(name) or name, "-c", "import sys; print(sys.executable)"]
    return subprocess.run(command, env=_with_all_pythons(), capture_output=True, text=True, check=True).stdout.strip()


def _with_all_pythons() -> dict[str, str]:
    """Return the variables with which pyenv's names run, where it is used: it switches on some versions only."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return dict(os.environ)
    listed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False).stdout.split()
    return {**os.environ, "PYENV_VERSION": ":".join(reversed(listed))}


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise CannotMakeError(f"cannot be installed: {last}")
