"""What a gateway's sender makes of a provider that answers the same to everything."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from responder.ports import NotSent, Sender, Unclear

Work = Callable[[Any], Awaitable[Any]]


async def outcome(sender: Sender, work: Work) -> Any:
    """What `work` gives with a sender, or how it failed."""
    try:
        return await work(sender)
    except (NotSent, Unclear) as error:
        return error
    finally:
        await sender.close()


def answered(status: int, body: str, make: Callable[[str], Sender], work: Work) -> Any:
    """The outcome with the sender that `make` gives for the provider's address."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=body, content_type="application/json")

    async def run() -> Any:
        server = web.Server(answer)
        site = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        try:
            return await outcome(make(f"http://127.0.0.1:{site.sockets[0].getsockname()[1]}"), work)
        finally:
            await server.shutdown(0.01)
            await asyncio.sleep(0)
            site.close()

    return asyncio.run(run())
