"""A relay inside a test: no server to start, no address to configure, nothing left behind. Prints ``passed``."""

import asyncio

import hybridrelay


# In a project of yours: `async def test_greets(hybridrelay_connection_string)`, with the fixture that the package gives to pytest.
async def greets() -> None:
    # On a free port of 127.0.0.1. It ends with the block.
    async with hybridrelay.LocalRelay() as relay:
        # A hybrid connection of this name comes to be when somebody listens on it.
        connection_string = relay.connection_string("greetings")

        # What is tested: here a listener that greets.
        async def greet(listener: hybridrelay.Listener) -> None:
            incoming = await listener.accept()
            assert isinstance(incoming, hybridrelay.IncomingConnect)
            async with await incoming.accept() as connection:
                await connection.send("welcome")

        async with hybridrelay.listen(connection_string) as listener:
            greeter = asyncio.create_task(greet(listener))
            # The other side of the conversation, played by the test.
            async with hybridrelay.connect(connection_string) as connection:
                assert [message async for message in connection] == ["welcome"]
            await greeter


asyncio.run(greets())
print("passed")
