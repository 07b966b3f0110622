"""The same without a framework, as any ASGI server runs it: `uvicorn webapp.asgi_app:web`."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from qtasks.exceptions import ResultExpiredError
from webapp.tasks import app, welcome

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


async def web(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        status, answer = await respond(scope["method"], scope["path"])
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def lifespan(receive: Receive, send: Send) -> None:
    async with AsyncExitStack() as stack:
        await receive()  # lifespan.startup
        await stack.enter_async_context(app)
        await stack.enter_async_context(app.worker(concurrency=8))
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})


async def respond(method: str, path: str) -> tuple[int, Event]:
    match method, path.strip("/").split("/"):
        case "POST", ["welcome", name]:
            task = await welcome.add_task(name)
            return 202, {"task": str(task.uuid)}
        case "GET", ["tasks", uuid]:
            try:
                found = await app.get(UUID(uuid))
            except ResultExpiredError as error:
                return 404, {"detail": str(error)}
            return 200, {"status": found.status, "result": found.returning}
    return 404, {"detail": "Not Found"}
