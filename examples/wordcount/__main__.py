"""`python -m wordcount`, in the folder examples: the demo; exit code 1 if anything was lost or counted differently."""

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from wordcount.counting import MOST_FILES, find_files, standard_library


def main() -> int:
    options = _parse()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    files = find_files(options.folder, options.files)
    console.print(f"{len(files):,} files of {options.folder}, one task for each")
    with TemporaryDirectory(prefix="wordcount-") as name:
        folder = Path(name)
        os.environ["QTASKS_BROKER_URL"] = f"sqlite:///{folder / 'qtasks.db'}"
        from wordcount.driver import run  # noqa: PLC0415  # the app reads its URL when it is imported
        from wordcount.report import show  # noqa: PLC0415

        return show(run(files, folder, console), console)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="wordcount", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=standard_library(), help="what to count; this Python's standard library"
    )
    parser.add_argument("--files", type=int, default=MOST_FILES, metavar="N", help="at most so many (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
