"""The package httpx: one asynchronous client, so that its connection is used again."""

import asyncio
import os
import ssl

import httpx
from client import case_and_size, counts, told


async def main():
    case, size = case_and_size()
    assert case == "request"
    ca = os.environ.get("BENCH_CA")
    scheme = "https" if ca else "http"
    tls = ssl.create_default_context(cafile=ca) if ca else True
    url = f"{scheme}://localhost:{told('BENCH_PORT')}/bench/"
    async with httpx.AsyncClient(verify=tls) as client:
        for count in counts():
            for _ in range(count):
                response = await client.get(url)
                assert response.status_code == 200 and len(response.content) == size


asyncio.run(main())
