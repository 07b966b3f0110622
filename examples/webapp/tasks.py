"""The app and its tasks; they know nothing of the web."""

import asyncio

from qtasks.asyncio import QueueTasks

app = QueueTasks("webapp")  # where its queue is, QTASKS_BROKER_URL says; qtasks.db by default


@app.task
async def welcome(name: str) -> str:
    await asyncio.sleep(0.2)  # a letter takes its time
    return f"Welcome, {name}!"
