"""Visitors who fill in the form at the same time, while workers run elsewhere: `python -m wizard.visit ann bob`."""

from __future__ import annotations

import asyncio
import sys

from wizard.tasks import Address, address, app, begin, confirm, coupon


async def visit(visitor: str) -> str:
    """Go through all pages, with a double click on the way."""
    await (await begin.add_task(visitor, visitor.title())).result(timeout=60)
    pages = await (await address.add_task(visitor, Address("Main Street", "Springfield"))).result(timeout=60)
    clicks = [await coupon.add_task(visitor, code) for code in ("TEN", "TEN", "FREE")]
    added = [await click.result(timeout=60) for click in clicks]
    confirmed = await (await confirm.add_task(visitor)).result(timeout=60)
    return f"{confirmed}, {pages} pages, {sum(added)} of {len(added)} clicks counted"


async def main(visitors: list[str]) -> None:
    """Let all visit at once."""
    for line in await asyncio.gather(*map(visit, visitors)):
        print(line)
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
