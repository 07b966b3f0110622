"""The documentation is true: every block of code in it is executed, in the order of the page.

A page is README.md, a page of docs/ (decisions/ are records of what was weighed; a page of brokers/ starts the server
that it is about, and is skipped where that is not installed), or the README of an example. Its blocks share a folder
that is empty at first (for an example: holds the example). A block begins with three backticks, its language, and words
that tell how it is run:

    python title="NAME"     written to the file NAME, to be used by the blocks below; toml the same
    console                 a line `$ COMMAND` is run by the shell and must end with 0; the lines below it, up to the
                            next `$`, are all that it prints. In a line `...` stands for any text, a line of only
                            `...` for any number of lines, also for none.
    console fails           the same, but each command must end with another code than 0
    console keeps-running   the command goes on while the blocks below are run. It must print what is shown, perhaps
                            more after that, and end with 0 when it is asked to stop after the last block.

Any other block is an error, unless its language is in NOT_EXECUTED, with the reason. STANDS_FOR names commands that are
not run as they stand.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from qtasks import QueueConfig
from qtasks_testing.servers import program

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/brokers/*.md"), *ROOT.glob("examples/*/README.md")]
)
NOT_EXECUTED: dict[str, str] = {}  # language: reason
SERVERS = {"redis.md": ("redis-server", "redis-server")}  # page: its program, and the Debian package that has it
STANDS_FOR = {
    "pip install .": f"python {ROOT}/tests/pip_install.py site",  # pip wants a network, and would install it for all
    "scripts/demo": f"cd {ROOT}/examples && python -m wordcount --files 600",  # without a new .venv; .ci/run does that
    "scripts/test": f"test -x {ROOT}/scripts/test",  # which runs this very test
}
TIMEOUT_S = 30.0
LINES = r"(?:.*\n)*"


class Block(NamedTuple):
    """A fenced block: where it is, its language, the words after it, and its lines."""

    place: str
    language: str
    words: str
    lines: list[str]


class Command(NamedTuple):
    """A command of a console block, and a pattern of what it prints."""

    text: str
    output: str


def expect(condition: object, problem: str) -> None:
    """Raise AssertionError where a page does not keep to the rules, or does not do what it shows."""
    if not condition:
        raise AssertionError(problem)


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page; what could be taken for a block, but is none here, is an error."""
    blocks: list[Block] = []
    inside: Block | None = None
    previous = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        place = f"{page.name}:{number}"
        if line.startswith("```"):
            language, _, words = line.removeprefix("```").strip().partition(" ")
            inside = None if inside else Block(place, language, words.strip(), [])
            blocks += [inside] if inside else []
        elif inside:
            inside.lines.append(line)
        else:
            expect(not line.strip().startswith(("```", "~~~")), f"{place}: begin a block with ``` in the first column")
            expect(previous or not line.startswith(("    ", "\t")), f"{place}: fence the block, or indent it less")
        previous = line.strip()
    expect(inside is None, f"{page.name}: the last block has no end")
    return blocks


def commands_of(block: Block) -> Iterator[Command]:
    """Return the commands of a console block."""
    expect(block.lines, f"{block.place}: an empty block")
    expect(block.lines[0].startswith("$ "), f"{block.place}: expected `$ COMMAND` first")
    starts = [number for number, line in enumerate(block.lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(block.lines)], strict=True):
        yield Command(block.lines[start].removeprefix("$ "), pattern_of(block.lines[start + 1 : end]))


def pattern_of(lines: list[str]) -> str:
    """Return the regular expression of the output that is shown."""
    return "".join(
        LINES if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n" for line in lines
    )


def run_page(page: Path, folder: Path) -> None:
    """Run the blocks of a page one after the other; raises AssertionError where one does not do what it shows."""
    if page.parent.parent.name == "examples":
        shutil.copytree(page.parent, folder / page.parent.name, ignore=shutil.ignore_patterns("__pycache__"))
    with ExitStack() as running:
        for block in blocks_of(page):
            if (block.language, block.words) == ("console", "keeps-running"):
                running.enter_context(_keep_running(block, folder))
            else:
                run_block(block, folder)


def run_block(block: Block, folder: Path) -> None:
    """Run one block that comes to an end."""
    match block.language, block.words.partition("=")[0]:
        case "python" | "toml", "title":
            _write(block, folder)
        case "console", "" | "fails":
            for command in commands_of(block):
                _run(command, block, folder)
        case _:
            known = block.language in NOT_EXECUTED
            expect(known, f"{block.place}: how is a block `{block.language} {block.words}` executed?")


def _write(block: Block, folder: Path) -> None:
    name = block.words.removeprefix('title="').removesuffix('"')
    expect(re.fullmatch(r"[\w.]+", name), f'{block.place}: expected title="NAME", got {block.words}')
    (folder / name).write_text("\n".join(block.lines) + "\n", encoding="utf-8")


def _run(command: Command, block: Block, folder: Path) -> None:
    shell = STANDS_FOR.get(command.text, command.text)
    with _started(shell, folder / "output.txt", folder) as process:
        code = process.wait(TIMEOUT_S)
    printed = _printed(folder / "output.txt")
    told = f"{block.place}: $ {command.text}\nended with {code} and printed\n{printed}"
    expect((block.words == "fails") == (code != 0), told)
    expect(re.fullmatch(command.output, printed), told)


@contextmanager
def _keep_running(block: Block, folder: Path) -> Iterator[None]:
    commands = list(commands_of(block))
    expect(1 == len(commands), f"{block.place}: expected one command")
    output = folder / f"output-{block.place.replace(':', '-')}.txt"
    with _started(f"exec {commands[0].text}", output, folder) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while not re.fullmatch(commands[0].output + LINES, _printed(output)):
            in_time = process.poll() is None and time.monotonic() < deadline
            expect(in_time, f"{block.place}: $ {commands[0].text}\nprinted\n{_printed(output)}")
            time.sleep(0.02)
        yield
        process.send_signal(signal.SIGTERM)
        code = process.wait(TIMEOUT_S)
        expect(0 == code, f"{block.place}: $ {commands[0].text}\nended with {code} and printed\n{_printed(output)}")


@contextmanager
def _started(shell: str, output: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    installed = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))
    env = {
        name: value for name, value in os.environ.items() if name != "QTASKS_PLUGINS_STRICT"
    }  # CI is, readers are not
    env |= {"PATH": path, "PYTHONPATH": installed, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
    command = ["/bin/sh", "-c", shell]
    with (
        output.open("wb") as out,
        subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _printed(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return text if not text or text.endswith("\n") else text + "\n"


# ---------------------------------------------------------------- the pages


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    """Each block of the page can be executed as it stands and prints what the page shows."""
    if page.name in SERVERS:
        program(*SERVERS[page.name])
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of this project leads to one that is there."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [] == [link for link in links if "://" not in link and not (page.parent / link).exists()]


def test_the_index_has_every_page() -> None:
    """Each page of docs/ stands in docs/index.md."""
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = [str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md") if path.name != "index.md"]
    assert [] == [page for page in pages if f"({page})" not in index]


def test_the_table_of_settings_is_complete() -> None:
    """docs/settings.md has every field of QueueConfig in order, with its default."""
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \| .+ \|$", text, re.MULTILINE)
    expected = [(field.name, getattr(QueueConfig(), field.name)) for field in msgspec.structs.fields(QueueConfig)]
    assert expected == [(name, ast.literal_eval(default)) for name, default in rows]


# ---------------------------------------------------------------- the rules above


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```console\n$ echo 1\n2\n```", r"page.md:1: \$ echo 1\nended with 0 and printed\n1"),
        ("```console\n$ echo 1; echo 2\n1\n```", "printed\n1\n2"),
        ("```console\n$ false\n```", "ended with 1"),
        ("```console fails\n$ true\n```", "ended with 0"),
        ("```console keeps-running\n$ echo 1\n2\n```", "printed\n1"),
        ("```console keeps-running\n$ sh -c 'echo 1; exec sleep 60'\n1\n```", "ended with -15"),
        ("```console\necho 1\n```", "expected `. COMMAND` first"),
        ('```python title="a.py"\n1 / 0\n```\n```console\n$ python a.py\n```', "ZeroDivisionError"),
        ("```python\nprint(1)\n```", "how is a block `python ` executed"),
        ("```ruby\nputs 1\n```", "how is a block `ruby ` executed"),
        ("- a\n  ```console\n  $ true\n  ```", "in the first column"),
        ("Do\n\n    make all\n", "fence the block"),
        ("```console\n$ true\n", "has no end"),
    ],
)
def test_a_page_that_lies_is_found(text: str, problem: str, tmp_path: Path) -> None:
    """A block that does something else than it shows, or that nobody would execute, fails its page."""
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=problem):
        run_page(page, tmp_path)


def test_dots_stand_for_what_differs(tmp_path: Path) -> None:
    """`...` in a line is any text, and alone any number of lines; a command sees the files of the blocks above it."""
    page = tmp_path / "page.md"
    page.write_text(
        '```python title="a.py"\nprint("one 1\\ntwo\\nthree\\nfour")\n```\n'
        "```console\n$ python a.py\none ...\n...\nfour\n...\n$ echo a; echo b\n...\n```",
        encoding="utf-8",
    )
    run_page(page, tmp_path)
