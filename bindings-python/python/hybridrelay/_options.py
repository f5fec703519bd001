"""Options by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from . import _logging
from ._headers import HeaderTypes, decode
from ._local import Controls
from ._tokens import TokenProvider


class ReachOptions(TypedDict, total=False):
    """How to reach a relay. Durations are seconds."""

    credential: TokenProvider | None
    """The credential, instead of the connection string's."""
    connect_timeout: float | None
    """How long a whole connect may take. Default 60."""
    proxy: str | None
    """A proxy's URL, ``http://user:password@host:port`` or ``socks5://…``, or ``"none"``. Default: as the environment says."""
    extra_ca_pem: str | bytes | None
    """Certificates in PEM to trust beside the platform's."""
    insecure_skip_verify: bool | None
    """Accept any certificate of the relay. Anybody in between can then read and change everything."""
    insecure_plaintext: bool | None
    """Allow connections without TLS to public hosts as well."""
    headers: HeaderTypes | None
    """Header fields of every handshake with the relay."""
    clock: Controls | None
    """In tests: a :class:`LocalRelay` by whose clock to live, which its ``advance`` moves. A leap of more than the ten seconds in which a
    Ping is answered makes listeners dial anew."""


class SenderOptions(ReachOptions, total=False):
    """Options of a sender. Durations are seconds."""

    entity: str | None
    """The hybrid connection, instead of the connection string's ``EntityPath``."""
    close_timeout: float | None
    """How long a closing connection may make no progress before it is aborted. Default 60."""
    keep_alive: float | None
    """Ping after so long without a byte. Default 20; 0 or ``None`` never pings."""
    max_message_size: int | None
    """The longest message that ``receive`` puts together, in bytes. Default 64 MiB."""


class ListenerOptions(SenderOptions, total=False):
    """Options of a listener. Durations are seconds."""

    accept_timeout: float | None
    """How long the dial to an accepted sender may take. Default 20."""
    reconnect: bool | None
    """Whether a lost control channel is opened again, for ever. Default true."""
    wait: bool | None
    """Whether the first open also retries network failures and a hybrid connection that does not exist yet. Default false."""
    max_concurrent: int | None
    """How many senders may wait unanswered; more are refused with 503. Default 1024."""
    subprotocols: Iterable[str] | None
    """The sub-protocols that the program speaks, in its order of preference."""
    tracking_id: str | None
    """The GUID under which the relay's logs know this listener. Default: a random one."""
    labels: Mapping[str, str] | None
    """What the listener says of itself to those who may manage the hybrid connection; at most 1 KiB."""


class ConnectOptions(TypedDict, total=False):
    """Options of one connection."""

    path: str | None
    """What follows the hybrid connection's name, such as ``/orders/7``."""
    query: str | None
    """The query, without ``?``."""
    headers: HeaderTypes | None
    """Header fields that the listener sees."""
    subprotocols: Iterable[str] | None
    """The sub-protocols to offer, in order of preference."""
    tracking_id: str | None
    """The GUID under which the relay and the listener know this connection. Default: a random one."""
    timeout: float | None
    """How many seconds this connect may take, instead of the sender's ``connect_timeout``."""


class OpenOptions(SenderOptions, total=False):
    """Options of a connection that is opened without a sender of its own. Durations are seconds."""

    path: str | None
    """What follows the hybrid connection's name, such as ``/orders/7``."""
    query: str | None
    """The query, without ``?``."""
    subprotocols: Iterable[str] | None
    """The sub-protocols to offer, in order of preference."""
    tracking_id: str | None
    """The GUID under which the relay and the listener know this connection. Default: a random one."""


_OF_A_CONNECTION = ("path", "query", "headers", "subprotocols", "tracking_id")


def native(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the native half takes them."""
    # Every listener and sender comes by here, so that what the program says of its logging counts from the next one on.
    _logging.follow_level()
    out = dict(options)
    credential = out.get("credential")
    if credential is not None:
        if not isinstance(credential, TokenProvider):
            raise TypeError(f"credential is a TokenProvider, not {type(credential).__name__}")
        out["credential"] = credential._native
    clock = out.get("clock")
    if clock is not None:
        if not isinstance(clock, Controls):
            raise TypeError(f"clock is a LocalRelay, not {type(clock).__name__}")
        out["clock"] = clock._use()
    if out.get("headers") is not None:
        out["headers"] = decode(out["headers"])
    if out.get("subprotocols") is not None:
        if isinstance(out["subprotocols"], str):
            raise TypeError("subprotocols is a list of names, not a str")
        out["subprotocols"] = list(out["subprotocols"])
    if out.get("labels") is not None:
        out["labels"] = list(out["labels"].items())
    return out


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a sender, and of its one connection."""
    connect = {name: options[name] for name in _OF_A_CONNECTION if name in options}
    sender = {name: value for name, value in options.items() if name not in connect}
    return sender, connect
