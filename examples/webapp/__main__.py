"""`python -m webapp asgi_app` or `fastapi_app`, in the folder examples: a short life of the web application."""

import asyncio
import importlib
import sys
from uuid import UUID

from webapp.server import Application, request, serving
from webapp.tasks import app


async def main(name: str) -> None:
    web = importlib.import_module(f"webapp.{name}").web
    async with serving(web):
        first = await show(web, "POST", "/welcome/Ada")
        await (await app.get(UUID(first))).wait(timeout=10)
        await show(web, "GET", f"/tasks/{first}")
        last = await show(web, "POST", "/welcome/Bob")
        await asyncio.sleep(0.1)
        await show(web, "GET", f"/tasks/{last}")
        print("shutting down")
    async with app:
        task = await app.get(UUID(last))
        print(f"{task.status}: {task.returning}")


async def show(web: Application, method: str, path: str) -> str:
    status, answer = await request(web, method, path)
    print(f"{method} {path}: {status} {answer}")
    return str(answer.get("task"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
