"""From the mutants to docs/mutants.md: what is broken, and the tests that see it.

`python mutants_table.py` writes the page; test_mutants.py compares it.
"""

from __future__ import annotations

from pathlib import Path

from mutants import MODULES, MUTANTS, Mutant  # a sibling: no package is here

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[4] / "docs" / "mutants.md"
HEAD = """\
# Mutants

A kit that every backend passes may see nothing. So `packages/qtasks-testing/tests/mutants` has {count} broken copies of
`memory://`, each a small class that does one thing wrong. In every run of the project's tests each of them is met by
the tests that are about what it breaks: they have to fail on the mutant, and to pass on what is whole. Other tests may
fail too; those that are named here have to.

For who [writes a backend](testing-a-backend.md) the table is also a list of what there is to get right, and it tells
what a test of the kit is there for.

This page is written by `python packages/qtasks-testing/tests/mutants/mutants_table.py`.
"""


def page() -> str:
    """Return the page as it has to be."""
    parts = [HEAD.format(count=len(MUTANTS) - 1)]
    for module in MODULES:
        title = (module.__doc__ or "").strip().removesuffix(".")
        rows = [_row(name, mutant) for name, mutant in MUTANTS.items() if mutant.module == module.__name__]
        head = "| mutant | what it breaks | seen by |\n|---|---|---|\n"
        parts.append(f"## {title}\n\n{head}{''.join(rows)}")
    return "\n".join(parts)


def _row(name: str, mutant: Mutant) -> str:
    return f"| {name} | {mutant.what} | {'<br>'.join(f'`{test}`' for test in mutant.by)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
