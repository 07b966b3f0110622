"""What `pip install .` stands for on a page: quickly, without a network, and for the commands of that page only.

The project in this folder is one module, named as the distribution with `_` for `-`. What an installer would leave of
it is put into the folder `site`, which the commands of a page have on their path.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def install(project: Path, site: Path) -> str:
    """Put module and metadata of a project into *site*; return the distribution's name and version."""
    told = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = told["name"].replace("-", "_")
    info = site / f"{module}-{told['version']}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (site / f"{module}.py").write_bytes((project / f"{module}.py").read_bytes())
    lines = ["Metadata-Version: 2.1", f"Name: {told['name']}", f"Version: {told['version']}"]
    lines += [f"Summary: {told['description']}"] if "description" in told else []
    lines += [f"Requires-Dist: {one}" for one in told.get("dependencies", [])]
    (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in told.get("entry-points", {}).items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")
    return f"{told['name']}-{told['version']}"


if __name__ == "__main__":
    print("Successfully installed", install(Path.cwd(), Path(sys.argv[1])))
