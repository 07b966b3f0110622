"""`python -m qtasks`: the command line."""

from __future__ import annotations

from qtasks_core.cli import main

if __name__ == "__main__":
    main()
