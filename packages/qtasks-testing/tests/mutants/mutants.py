"""All broken copies of memory://: each does one thing wrong, and the kit has to see it.

The modules broken_*.py have them, one class each: its docstring is what it breaks, `caught_by` names the tests that are
about that. To add one, write its class there, ask `python run.py NAME` which tests see it, and write the page anew.
"""

from __future__ import annotations

import broken_config  # siblings: no package is here
import broken_fusion
import broken_looking
import broken_receiving
import broken_records
import broken_sending
import broken_settling
import broken_streams
from mutant import MUTANTS, UNBROKEN, Mutant

__all__ = ["MUTANTS", "UNBROKEN", "Mutant"]

MODULES = (
    broken_sending,
    broken_receiving,
    broken_settling,
    broken_looking,
    broken_fusion,
    broken_records,
    broken_streams,
    broken_config,
)
