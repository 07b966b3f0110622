"""The pages of the form, as tasks that any worker may run."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtasks import Depends
from qtasks.asyncio import QueueTasks
from qtasks.plugins import AsyncState

if TYPE_CHECKING:
    from collections.abc import Iterator

app = QueueTasks("wizard")


@dataclass
class Address:
    street: str
    town: str


class Form(AsyncState, ttl=3600.0):
    """What a visitor has said so far; an hour after the last page it is forgotten."""

    name: str
    address: Address
    coupons: list[str] = []  # noqa: RUF012  # a default: each reader gets a copy of it
    pages: int = 0


def shop() -> Iterator[sqlite3.Connection]:
    """Open the shop's own database, once in each worker."""
    connection = sqlite3.connect("shop.db", timeout=30.0, isolation_level=None, check_same_thread=False)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS orders "
        "(visitor TEXT PRIMARY KEY, name TEXT, street TEXT, town TEXT, coupons TEXT, worker INT)"
    )
    try:
        yield connection
    finally:
        connection.close()


@app.task
async def begin(visitor: str, name: str, form: Form = Depends()) -> int:
    form = form.with_options(state_key=visitor)
    await form.clear()
    await form.set("name", name)
    return int(await form.increment("pages"))


@app.task
async def address(visitor: str, where: Address, form: Form = Depends()) -> int:
    form = form.with_options(state_key=visitor)
    await form.set("address", where)
    return int(await form.increment("pages"))


@app.task
async def coupon(visitor: str, code: str, form: Form = Depends()) -> bool:
    """Add a coupon, once, also when the visitor clicks twice and two workers have the clicks."""
    form = form.with_options(state_key=visitor)
    async with form.lock("coupons", ttl=10.0):
        coupons = await form.get("coupons")
        if code in coupons:
            return False
        await form.set("coupons", sorted([*coupons, code]))
        return True


@app.task
async def confirm(
    visitor: str, form: Form = Depends(), orders: sqlite3.Connection = Depends(shop, scope="worker")
) -> str:
    """Write the order; what is missing is an error, and the visitor may go on where the form was left.

    A task may run twice, when its worker is killed: the order is written under its visitor, and the form stays.
    """
    form = form.with_options(state_key=visitor)
    said = await form.get_all()
    if missing := [field for field in ("name", "address") if field not in said]:
        raise ValueError(f"the form of {visitor} lacks {' and '.join(missing)}")
    where = said["address"]
    row = (visitor, said["name"], where.street, where.town, " ".join(said["coupons"]), os.getpid())
    await asyncio.to_thread(orders.execute, "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?)", row)
    return f"{said['name']}, {where.street}, {where.town}: {len(said['coupons'])} coupons"
