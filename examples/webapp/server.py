"""What a web server does for an application, in a few lines: its lifespan, and requests to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

Event = MutableMapping[str, Any]
Application = Callable[[Event, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]]


@asynccontextmanager
async def serving(web: Application) -> AsyncIterator[None]:
    """Run an application's lifespan around the block."""
    asked: asyncio.Queue[Event] = asyncio.Queue()
    answers: asyncio.Queue[Event] = asyncio.Queue()

    async def life() -> None:
        await web({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, asked.get, answers.put)

    async def tell(phase: str) -> None:
        asked.put_nowait({"type": f"lifespan.{phase}"})
        waiting = asyncio.ensure_future(answers.get())
        await asyncio.wait([living, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise RuntimeError(f"the application ended in its {phase}") from living.exception()
        answer = waiting.result()
        if answer["type"] != f"lifespan.{phase}.complete":
            raise RuntimeError(f"{answer['type']}: {answer.get('message')}")

    living = asyncio.ensure_future(life())
    await tell("startup")
    try:
        yield
    finally:
        await tell("shutdown")
        await living


async def request(web: Application, method: str, path: str) -> tuple[int, Any]:
    """Return the status and the decoded answer of a request without a body."""
    sent: list[Event] = []

    async def receive() -> Event:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Event) -> None:
        sent.append(event)

    scope: Event = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": None,
        "state": {},
    }
    await web(scope, receive, send)
    body = b"".join(event.get("body", b"") for event in sent)
    return sent[0]["status"], json.loads(body)
