"""Distributions that are installed for one test: as an installer leaves them, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

DEADLINE_S = 50.0
VERSION = "2.5"


class Site:
    """A folder of installed distributions.

    Parameters:
        folder: On sys.path here, and on that of the programs that `run` starts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, code: str, *points: str, metadata: str = "") -> None:
        """Install a distribution of one module.

        Parameters:
            distribution: Its name; the module has underscores for dashes.
            code: The module's text.
            points: Each as `group: name = value`, without the module, which is put before the value's colon.
            metadata: Further lines of METADATA.
        """
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        info = self.folder / f"{module}-{VERSION}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {VERSION}\n"
        (info / "METADATA").write_text(head + metadata, encoding="utf-8")
        (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n{info.name}/entry_points.txt,,\n")
        lines = []
        for point in points:
            group, _, rest = point.partition(": ")
            name, _, attribute = rest.partition(" = ")
            lines.append(f"[{group}]\n{name} = {module}{':' if attribute else ''}{attribute}\n")
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")

    def uninstall(self, distribution: str) -> None:
        """Take away what it brings; the module stays, unseen."""
        shutil.rmtree(self.folder / f"{distribution.replace('-', '_')}-{VERSION}.dist-info")

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `qtasks` where the distributions are installed."""
        return self._run(["-m", "qtasks_core", *arguments], environment)

    def run_program(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program where the distributions are installed."""
        return self._run(["-c", textwrap.dedent(code)], environment)

    def _run(self, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            check=False,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), **environment},
            text=True,
            timeout=DEADLINE_S,
        )
