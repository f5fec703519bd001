"""A shop, with everything that applications of FastAPI usually do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    HTTPException,
    Query,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel


class Item(BaseModel):
    name: str
    price: float


async def customer(user: Annotated[str | None, Cookie()] = None) -> str:
    if user is None:
        raise HTTPException(401, headers={"www-authenticate": "Cookie"})
    return user


def shop() -> FastAPI:
    """A shop of its own."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"items": {}, "log": []}

    app = FastAPI(lifespan=lifespan, title="Shop")
    app.add_middleware(GZipMiddleware, minimum_size=10_000)
    items = APIRouter(prefix="/items")

    @items.put("/{number}", status_code=201)
    async def put(number: int, item: Item, request: Request, background: BackgroundTasks) -> Item:
        request.state.items[number] = item
        background.add_task(request.state.log.append, f"put {number}")
        return item

    @items.get("/{number}")
    async def get(number: int, request: Request) -> Item:
        if number not in request.state.items:
            raise HTTPException(404, f"no item {number}", headers={"x-searched": str(number)})
        item: Item = request.state.items[number]
        return item

    @items.get("/", name="all items")
    def everything(request: Request, cheaper_than: Annotated[float, Query()] = 1e9) -> list[Item]:
        return [item for item in request.state.items.values() if item.price < cheaper_than]

    app.include_router(items)

    @app.get("/log")
    async def log(request: Request) -> list[str]:
        lines: list[str] = request.state.log
        return lines

    @app.get("/where")
    async def where(request: Request) -> dict[str, str]:
        return {"items": str(request.url_for("all items")), "base": str(request.base_url), "url": str(request.url)}

    @app.get("/moved")
    async def moved(request: Request) -> RedirectResponse:
        return RedirectResponse(request.url_for("all items"))

    @app.post("/upload")
    async def upload(files: list[UploadFile], request: Request) -> list[dict[str, Any]]:
        form = await request.form()
        out = []
        for file in files:
            digest, size = hashlib.sha256(), 0
            while chunk := await file.read(2**16):
                digest.update(chunk)
                size += len(chunk)
            out.append({"name": file.filename, "size": size, "sha256": digest.hexdigest(), "note": form.get("note")})
        return out

    @app.get("/events")
    async def events(first: int = 0) -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            for number in range(first, first + 3):
                yield f"event: tick\nid: {number}\ndata: {number}\n\n"
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.get("/big")
    async def big() -> StreamingResponse:
        async def stream() -> AsyncIterator[bytes]:
            for number in range(64):
                yield bytes([number]) * 2**16

        return StreamingResponse(
            stream(), media_type="application/octet-stream", headers={"content-encoding": "identity"}
        )

    @app.post("/login")
    async def login(name: str, response: Response) -> None:
        response.set_cookie("user", name, httponly=True, path="/")
        response.set_cookie("theme", "dark")

    @app.get("/me")
    async def me(user: Annotated[str, Depends(customer)]) -> str:
        return user

    @app.websocket("/chat/{room}")
    async def chat(socket: WebSocket, room: str, name: str = "nobody") -> None:
        if room == "closed":
            raise HTTPException(403)
        await socket.accept("chat.v2" if "chat.v2" in socket.scope["subprotocols"] else None)
        if room == "small":
            await socket.close(4000, "too small")
            return
        try:
            while True:
                message = await socket.receive_json()
                await socket.send_json({"room": room, "name": name, "said": message})
                await socket.send_bytes(b"\0\1")
        except WebSocketDisconnect as end:
            socket.state.log.append(f"left {end.code} {end.reason}")

    return app
