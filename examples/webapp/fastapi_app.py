"""The web application with FastAPI: `uvicorn webapp.fastapi_app:web`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from fastapi import FastAPI, HTTPException

from qtasks.exceptions import ResultExpiredError
from webapp.tasks import app, welcome


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with app, app.worker(concurrency=8):
        yield


web = FastAPI(lifespan=lifespan)


@web.post("/welcome/{name}", status_code=202)
async def send_welcome(name: str) -> dict[str, str]:
    task = await welcome.add_task(name)
    return {"task": str(task.uuid)}


@web.get("/tasks/{uuid}")
async def show_task(uuid: UUID) -> dict[str, str | None]:
    try:
        task = await app.get(uuid)
    except ResultExpiredError as error:
        raise HTTPException(404, str(error)) from None
    return {"status": task.status, "result": task.returning}
