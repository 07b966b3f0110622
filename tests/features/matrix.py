"""From what the backends declare to docs/features.md: which feature works with which, and what one gets instead.

`python tests/features/matrix.py` asks the backends and writes the page; test_matrix.py compares it. A backend is there
when its package has a tests/test_kit*.py that subclasses suites of features. One whose server is away keeps what
docs/features.json says of it.
"""

import inspect
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from qtasks_testing import kit
from qtasks_testing.kit.features.abilities import ABILITIES
from qtasks_testing.kit.features.feature import FeatureSuite

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "features.json"
PAGE = ROOT / "docs" / "features.md"
TIMEOUT_S = 120
HEAD = """\
# Features by backend

What tasks can do, and with which backend. Each feature is a suite of tests which a backend passes, with a real app and
a real worker; what it declares to lack is skipped there, and shown here. This page is made by
[matrix.py](../tests/features/matrix.py) from what the suites and the backends declare.

"yes": all tests of the suite pass. "yes, but": some of them need what this backend lacks; they are named below.
"""
ABILITIES_HEAD = """\
## What a backend may lack

Features are built upon these abilities. An error is shown as a user gets it.
"""

Found = dict[str, dict[str, dict[str, Any]]]


def declared() -> Found:
    """Ask the backends whose test modules are here: abilities and features by scheme."""
    modules = sorted(str(path) for path in ROOT.glob("packages/*/tests/test_kit*.py"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.json"
        options = ["--setup-only", "--quiet", "-p", "no:cacheprovider", f"--qtasks-features={path}"]
        asked = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *modules],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if asked.returncode:
            raise RuntimeError(f"the backends could not be asked:\n{asked.stdout}{asked.stderr}")
        found: Found = json.loads(path.read_text(encoding="utf-8"))
    return dict(sorted(found.items()))


def stored() -> Found:
    """Return what was found when the page was written."""
    found: Found = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    return found


def page(found: Found) -> str:
    """Return docs/features.md."""
    parts = [HEAD, _overview(found), ABILITIES_HEAD, _abilities(found)]
    parts += [_feature(suite, found) for suite in suites()]
    return "\n".join(parts)


def suites() -> list[type[FeatureSuite]]:
    """Return the suites of features, by name."""
    offered = [getattr(kit, name) for name in kit.__all__]
    ours = [one for one in offered if isinstance(one, type) and issubclass(one, FeatureSuite) and one.feature]
    return sorted(ours, key=lambda suite: suite.feature)


def _overview(found: Found) -> str:
    rows = []
    for suite in suites():
        cells = [_cell(found[scheme]["features"].get(suite.feature, {})) for scheme in found]
        rows.append([f"[{suite.feature}](#{_anchor(suite.feature)})", *cells])
    return _table(["feature", *_backends(found)], rows)


def _cell(tests: dict[str, str | None]) -> str:
    if not any(reason is None for reason in tests.values()):
        return "no"
    return "yes" if not any(tests.values()) else "yes, but"


def _abilities(found: Found) -> str:
    rows = []
    for ability in ABILITIES:
        cells = ["no" if found[scheme]["abilities"].get(ability.name) else "yes" for scheme in found]
        kind, _, text = ability.instead.partition(": ")
        instead = f"`{kind}`: {text}" if kind.endswith("Error") else ability.instead
        rows.append([ability.name, *cells, instead])
    return _table(["ability", *_backends(found), "what one gets without it"], rows)


def _feature(suite: type[FeatureSuite], found: Found) -> str:
    source = Path(inspect.getfile(suite)).relative_to(ROOT).as_posix()
    lines = [f"## {suite.feature}", "", f"{inspect.getdoc(suite)} ([source](../{source}))", ""]
    for name, test in vars(suite).items():
        if name.startswith("test_"):
            words = name.removeprefix("test_").replace("_", " ")
            about = " ".join((inspect.getdoc(test) or "").split())
            lines += [f"- **{words[0].upper()}{words[1:]}.** {about}{_lacking(suite, name, found)}"]
    return "\n".join([*lines, ""])


def _lacking(suite: type[FeatureSuite], test: str, found: Found) -> str:
    reasons = {scheme: found[scheme]["features"].get(suite.feature, {}).get(test, "no suite") for scheme in found}
    shown = [f"`{scheme}://` ({reason})" for scheme, reason in reasons.items() if reason]
    return f" Not with {', '.join(shown)}." if shown else ""


def _backends(found: Found) -> list[str]:
    return [f"`{scheme}://`" for scheme in found]


def _anchor(title: str) -> str:
    return "".join(one for one in title.lower().replace(" ", "-") if one.isalnum() or one == "-")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write() -> None:
    """Write the page, and what was found."""
    found = dict(sorted({**stored(), **declared()}.items()))
    STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    write()
