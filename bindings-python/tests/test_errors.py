"""Exceptions: one taxonomy, the same in every language."""

from __future__ import annotations

import asyncio
import pickle
import re

import hybridrelay
import pytest
from hybridrelay import ErrorKind, RelayError, _native
from hybridrelay._errors import from_native


def test_kinds_are_those_of_the_table_that_all_languages_share() -> None:
    assert {code: name for code, name, _ in _native.error_table() if code} == {
        kind.value: kind.name for kind in ErrorKind
    }


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_failure_has_its_class_and_says_everything(kind: ErrorKind) -> None:
    with pytest.raises(RelayError) as raised:
        _native.fail(kind.value)  # type: ignore[attr-defined]
    error = raised.value
    assert error.kind is kind and f"{kind.name} on demand" in str(error)
    if kind < 100:
        assert type(error) is not RelayError and type(error)().kind is kind
        assert (error.status, error.reason, error.hint) == (418, "because", "do not ask for it")
        assert error.tracking_id and error.tracking_id in str(error)
        assert error.__notes__ == ["hint: do not ask for it"]
    for again in (pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)):
        assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


async def test_a_panic_is_an_error_and_nothing_more() -> None:
    from hybridrelay._run import call

    with pytest.raises(hybridrelay.InternalError) as raised:
        _native.panic_in_call()  # type: ignore[attr-defined]
    assert "demand" not in str(raised.value)
    with pytest.raises(hybridrelay.InternalError):
        await call(_native.panic_in_task)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cls", "base"),
    [
        (hybridrelay.Unauthorized, PermissionError),
        (hybridrelay.ConnectionLost, ConnectionError),
        (hybridrelay.NoListeners, ConnectionError),
        (hybridrelay.NetworkError, OSError),
        (hybridrelay.Timeout, TimeoutError),
        (hybridrelay.InvalidArgument, ValueError),
    ],
)
def test_except_clauses_of_the_language_catch_them(cls: type[RelayError], base: type[Exception]) -> None:
    assert cls.__module__ == "hybridrelay"
    error = cls("what failed", status=401)
    assert isinstance(error, base) and str(error) == "what failed" and error.status == 401


def test_a_kind_of_a_later_version_is_still_an_error() -> None:
    error = from_native(77, "of the future", None, None, None, False, None, None, None, ["below"])
    assert (type(error), str(error), error.__notes__) == (
        hybridrelay.InternalError,
        "of the future",
        ["caused by: below"],
    )


async def test_a_relay_that_asks_to_wait_says_how_long(hybridrelay_own_relay: hybridrelay.LocalRelay) -> None:
    wrong = re.sub("SharedAccessKey=[^;]*", "SharedAccessKey=d3Jvbmc=", hybridrelay_own_relay.connection_string("hyco"))

    async def refused() -> RelayError:
        with pytest.raises(RelayError) as failure:
            await hybridrelay.connect(wrong)
        return failure.value

    error = await refused()
    assert isinstance(error, hybridrelay.Unauthorized) and error.retry_after is None
    # Who has come with so many wrong keys is not looked at for a while.
    while isinstance(error, hybridrelay.Unauthorized):
        error = await refused()
    async with hybridrelay.Sender(wrong) as sender:
        with pytest.raises(hybridrelay.ServerBusy) as failure:
            await sender.get("/")
    for busy, status in [(error, 503), (failure.value, 429)]:
        assert isinstance(busy, hybridrelay.ServerBusy) and (busy.status, busy.retryable) == (status, True)
        assert busy.retry_after is not None and 1 <= busy.retry_after <= 60
        assert pickle.loads(pickle.dumps(busy)).retry_after == busy.retry_after
    assert error.retry_after is not None
    hybridrelay_own_relay.advance(error.retry_after)
    assert isinstance(await refused(), hybridrelay.Unauthorized)


async def test_options_that_are_wrong_are_named() -> None:
    with pytest.raises(TypeError, match="no option 'conect_timeout'; there are .*connect_timeout"):
        await hybridrelay.listen("Endpoint=sb://x/;EntityPath=y", conect_timeout=1)  # type: ignore[call-arg]
    with pytest.raises(hybridrelay.InvalidArgument, match="connect_timeout"):
        await hybridrelay.listen("Endpoint=sb://x/;EntityPath=y", connect_timeout=-1)
    with pytest.raises(hybridrelay.InvalidArgument):
        await hybridrelay.listen("nonsense")
    with pytest.raises(TypeError, match="list of names"):
        await hybridrelay.listen("Endpoint=sb://x/;EntityPath=y", subprotocols="chat")
    with pytest.raises(TypeError, match="TokenProvider"):
        await hybridrelay.listen("Endpoint=sb://x/;EntityPath=y", credential="secret")  # type: ignore[arg-type]


async def test_every_option_is_taken_and_typed(hybridrelay_relay: hybridrelay.LocalRelay, cs: str) -> None:
    reach: hybridrelay.ReachOptions = {
        "credential": hybridrelay.TokenProvider.shared_access_key(hybridrelay_relay.key_name, hybridrelay_relay.key),
        "connect_timeout": 30,
        "proxy": "none",
        "extra_ca_pem": None,
        "insecure_skip_verify": False,
        "clock": hybridrelay_relay,
        "insecure_plaintext": True,
        "headers": {"x-from": "a test"},
    }
    sender: hybridrelay.SenderOptions = {
        **reach,
        "entity": "options",
        "close_timeout": 30.5,
        "keep_alive": None,
        "max_message_size": 1000,
    }
    listener: hybridrelay.ListenerOptions = {
        **sender,
        "accept_timeout": 10,
        "reconnect": True,
        "wait": True,
        "max_concurrent": 7,
        "subprotocols": ("chat.v1",),
        "tracking_id": "4bd4e0f5-7bd2-4f2b-9d30-5fd1a7bd5f4b",
        "labels": {"version": "1.2"},
    }
    one: hybridrelay.ConnectOptions = {
        "path": "/x",
        "query": "y=z",
        "headers": [("x-from", "another")],
        "subprotocols": ["chat.v1"],
        "tracking_id": "5bd4e0f5-7bd2-4f2b-9d30-5fd1a7bd5f4b",
        "timeout": 30,
    }
    async with hybridrelay.listen(cs, **listener) as listening, hybridrelay.Sender(cs, **sender) as sending:
        assert (listening.entity, sending.entity) == ("options", "options")
        opening = asyncio.ensure_future(_open(sending, one))
        incoming = await listening.accept()
        assert isinstance(incoming, hybridrelay.IncomingConnect)
        assert (incoming.path, incoming.query, incoming.headers["x-from"]) == ("/x", "y=z", "another")
        far = await incoming.accept()
        near = await opening
        assert near.subprotocol == "chat.v1" and near.tracking_id == one["tracking_id"]
        await asyncio.gather(near.close(), far.close())
    with pytest.raises(hybridrelay.Unsupported, match="discovery"):
        await hybridrelay.endpoints(cs, **reach)
    # The types tell the same.
    assert set(reach) == _names(hybridrelay.ReachOptions)
    assert set(sender) == _names(hybridrelay.SenderOptions)
    assert set(listener) == _names(hybridrelay.ListenerOptions)
    assert set(one) == _names(hybridrelay.ConnectOptions)


def _names(options: type) -> set[str]:
    return set(options.__annotations__)


async def _open(sender: hybridrelay.Sender, options: hybridrelay.ConnectOptions) -> hybridrelay.Connection:
    return await sender.connect(**options)


async def test_secrets_are_in_no_message(cs: str) -> None:
    secret = cs.split("SharedAccessKey=")[1].split(";")[0]
    wrong = cs.replace(secret, "d3Jvbmc=")
    with pytest.raises(PermissionError) as raised:
        await hybridrelay.listen(wrong)
    for text in (str(raised.value), repr(raised.value), repr(raised.value.__dict__)):
        assert secret not in text and "d3Jvbmc=" not in text and "SharedAccessSignature" not in text
