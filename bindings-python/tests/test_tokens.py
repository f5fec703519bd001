"""Where tokens come from."""

from __future__ import annotations

import asyncio
import datetime
import gc
import threading
import time
import weakref

import hybridrelay
import pytest
from conftest import pair
from hybridrelay import LocalRelay, TokenProvider, sync


def address(relay: LocalRelay, cs: str) -> str:
    """The same place without a credential."""
    return relay.address + cs.split("EntityPath=")[1].split(";")[0]


def signature(relay: LocalRelay, audience: str, seconds: int = 3600) -> str:
    """A shared access signature, made here."""
    import base64
    import hashlib
    import hmac
    from urllib.parse import quote

    resource, expiry = quote(audience, safe="").lower(), int(time.time()) + seconds
    digest = hmac.digest(relay.key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256)
    signed = quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signed}&se={expiry}&skn={relay.key_name}"


async def test_a_key_makes_tokens(hybridrelay_relay: LocalRelay, cs: str) -> None:
    provider = TokenProvider.shared_access_key(hybridrelay_relay.key_name, hybridrelay_relay.key, validity=600)
    place = address(hybridrelay_relay, cs)
    async with hybridrelay.listen(place, credential=provider) as listener:
        near, far = await pair(listener, cs)
        await asyncio.gather(near.close(), far.close())
    assert hybridrelay_relay.key not in repr(provider)
    with pytest.raises(hybridrelay.Unauthorized):
        await hybridrelay.listen(place)


async def test_a_ready_made_token_is_replaced(hybridrelay_relay: LocalRelay, cs: str) -> None:
    place = address(hybridrelay_relay, cs)
    provider = TokenProvider.ready_made(signature(hybridrelay_relay, place, 1800))
    async with hybridrelay.listen(place, credential=provider) as listener:
        expires = listener.status.expires_at
        assert expires is not None and expires > datetime.datetime.now(datetime.UTC)
        provider.set_token(signature(hybridrelay_relay, place, 3600))
        async for status in listener.statuses():
            if status.expires_at and status.expires_at > expires:
                break
    with pytest.raises(hybridrelay.InvalidArgument):
        TokenProvider.shared_access_key("a", "b").set_token("c")


async def test_an_asynchronous_callback_runs_in_the_programs_own_loop(hybridrelay_relay: LocalRelay, cs: str) -> None:
    asked: list[str] = []
    home = asyncio.get_running_loop()

    async def callback(audience: str) -> str:
        assert asyncio.get_running_loop() is home
        asked.append(audience)
        await asyncio.sleep(0)
        return signature(hybridrelay_relay, audience)

    place = address(hybridrelay_relay, cs)
    async with hybridrelay.listen(place, credential=TokenProvider(callback)):
        assert len(asked) == 1 and asked[0].startswith("http://127.0.0.1")


async def test_a_plain_callback_runs_in_a_thread(hybridrelay_relay: LocalRelay, cs: str) -> None:
    threads: list[threading.Thread] = []

    def callback(audience: str) -> tuple[str, datetime.datetime]:
        threads.append(threading.current_thread())
        return signature(hybridrelay_relay, audience), datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)

    async with hybridrelay.listen(address(hybridrelay_relay, cs), credential=TokenProvider(callback)):
        assert threads and threads[0] is not threading.main_thread()


def test_callbacks_of_both_kinds_serve_blocking_calls(hybridrelay_relay: LocalRelay, cs: str) -> None:
    async def asynchronous(audience: str) -> str:
        return signature(hybridrelay_relay, audience)

    def plain(audience: str) -> str:
        return signature(hybridrelay_relay, audience)

    for callback in (asynchronous, plain):
        with sync.listen(address(hybridrelay_relay, cs), credential=TokenProvider(callback)) as listener:
            assert listener.status.is_online


async def test_a_callback_that_fails_is_logged_and_tells_no_secret(
    hybridrelay_relay: LocalRelay, cs: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def callback(audience: str) -> str:
        raise ZeroDivisionError("with a secret")

    with pytest.raises(hybridrelay.Unauthorized) as raised:
        await hybridrelay.listen(address(hybridrelay_relay, cs), credential=TokenProvider(callback))
    assert "ZeroDivisionError" in str(raised.value) and "secret" not in str(raised.value)
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


def test_a_callback_is_let_go_when_nobody_can_ask_any_more(hybridrelay_relay: LocalRelay, cs: str) -> None:
    class Callback:
        def __call__(self, audience: str) -> str:
            return signature(hybridrelay_relay, audience)

    callback = Callback()
    gone = weakref.ref(callback)
    provider = TokenProvider(callback)
    with sync.listen(address(hybridrelay_relay, cs), credential=provider):
        del provider, callback
        gc.collect()
        assert gone() is not None, "the listener may still ask"
    while gone() is not None:
        time.sleep(0.001)
        gc.collect()


async def test_a_token_lets_somebody_in_who_has_no_key(hybridrelay_relay: hybridrelay.LocalRelay, cs: str) -> None:
    async with hybridrelay.listen(cs) as listener:
        token = hybridrelay.create_token(listener.address, hybridrelay_relay.key_name, hybridrelay_relay.key)
        async with hybridrelay.Sender(cs, credential=hybridrelay.TokenProvider.ready_made(token)) as sender:
            assert (await sender.presence()).count == 1
    with pytest.raises(hybridrelay.InvalidArgument, match="validity"):
        hybridrelay.create_token("http://host/entity/", "rule", "key", validity=-1)
