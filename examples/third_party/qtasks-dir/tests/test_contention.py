"""Several processes at the same files, with no lock between them: nobody gets what another has."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from qtasks_core.contract import Envelope
from qtasks_core.naming import new_uuid
from qtasks_dir import DirBroker, DirGlobalConfig
from qtasks_testing.kit import KitContext

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

PROCESSES = 3
TAKEN = '''
import asyncio, sys
from qtasks_core.contract import Ack, Outcome
from qtasks_dir import DirBroker
from qtasks_testing.kit import KitContext


async def main(url: str, name: str) -> None:
    """Take what is there, of which the others take too; print it when it is settled."""
    broker = DirBroker(url, KitContext("app"))
    await broker.start()
    await broker.subscribe(("default",), name, 7, lambda lost: print("lost"))
    while True:
        try:
            async with asyncio.timeout(1.0):
                got = await broker.receive(7)
        except TimeoutError:
            break
        answers = await broker.settle([Outcome(delivery, Ack()) for delivery in got])
        print(*(delivery.envelope.uuid for delivery, answer in zip(got, answers) if answer is None), sep="\\n")
    await broker.stop()


asyncio.run(main(*sys.argv[1:]))
'''
COUNTED = '''
import asyncio, sys
from qtasks_dir import DirGlobalConfig
from qtasks_testing.kit import KitContext


async def main(url: str, name: str) -> None:
    """Count up to 50 more; each third time by way of a key that is absent for a moment."""
    config = DirGlobalConfig(url, KitContext("app"))
    await config.start()
    done = 0
    while done < 50:
        value, revision = await config.get("n")
        done += await config.cas("n", b"%d" % (int(value or b"0") + 1), revision) is not None
        if await config.cas("lock", name.encode(), 0) is not None:
            assert (await config.get("lock")).value == name.encode()
            await config.put("lock", None)


asyncio.run(main(*sys.argv[1:]))
'''


def _together(script: str, url: str) -> Sequence[str]:
    """Run a script in several processes at once; return what each prints."""
    started = [
        subprocess.Popen([sys.executable, "-c", script, url, f"w{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    printed = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES
    return printed


async def test_each_message_is_taken_by_one_process(tmp_path: Path) -> None:
    """Three that take as fast as they can: nothing twice, nothing left."""
    url = f"dir:///{tmp_path}/data"
    broker = DirBroker(url, KitContext("app"))
    await broker.start()
    sent = [Envelope(uuid=new_uuid(), queue="default", body=b"") for _ in range(400)]
    await broker.send(sent)

    taken = Counter(line for text in _together(TAKEN, url) for line in text.split())

    assert taken == Counter(str(envelope.uuid) for envelope in sent)
    assert await broker.depth("default") == (0, 0, 0, 0)


async def test_no_process_loses_an_update(tmp_path: Path) -> None:
    """Compare-and-set of three processes on one key, and a lock that is taken, given back and made anew."""
    url = f"dir:///{tmp_path}/data"
    config = DirGlobalConfig(url, KitContext("app"))
    await config.start()

    _together(COUNTED, url)

    assert (await config.get("n")).value == b"%d" % (50 * PROCESSES)
    assert (await config.get("lock")).value is None
