"""The public API as type checkers see it: user code of both faces, in which every wrong line is marked as one."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = sorted(path.stem for path in (Path(__file__).parent / "typing").glob("*.py"))
MYPY = [sys.executable, "-m", "mypy", "--strict"]

needs_mypy = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="needs mypy; scripts/lint checks the same folder"
)


def _run(command: list[str], root: Path) -> tuple[str, int]:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr, done.returncode


@needs_mypy
@pytest.mark.timeout(300)
def test_mypy_knows_what_users_write(root: Path, tmp_path: Path) -> None:
    """Right code passes, wrong code is an error: an ignore that is not needed would be one too."""
    output, code = _run([*MYPY, f"--cache-dir={tmp_path}", "tests/typing"], root)

    assert 0 == code, output
    assert f"no issues found in {len(NAMES)} source files" in output


@needs_mypy
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_every_line_that_is_marked_as_wrong_is_wrong(name: str, root: Path, tmp_path: Path) -> None:
    """The proof of the proof: without its ignores, each marked line is an error with the code that is marked."""
    lines = (root / "tests" / "typing" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    marked = {
        number: line.partition("# type: ignore[")[2].partition("]")[0]
        for number, line in enumerate(lines, 1)
        if "# type: ignore[" in line
    }
    bare = tmp_path / f"{name}.py"
    bare.write_text("\n".join(line.partition("  # type: ignore[")[0] for line in lines), encoding="utf-8")
    output, _ = _run([*MYPY, "--no-error-summary", f"--cache-dir={tmp_path / 'cache'}", str(bare)], root)
    found = {
        int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]")
        for line in output.splitlines()
        if ": error: " in line
    }

    assert marked == found
    assert len(marked) > 10


@pytest.mark.timeout(300)
def test_basedpyright_agrees(root: Path, tmp_path: Path) -> None:
    """In its strict mode, on the same files."""
    program = shutil.which("basedpyright", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs basedpyright")
    settings = {
        "include": [str(root / "tests" / "typing")],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    output, code = _run([program, "-p", str(tmp_path), "--pythonpath", sys.executable, "--level", "error"], root)

    assert 0 == code, output
    assert "0 errors" in output
