"""What applications of either kind are told of a sender: where they are mounted, and where they are."""

from __future__ import annotations

import http
from typing import NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit

#: So much of a body that is spooled is held in memory; the rest goes to a file.
HELD = 2**16


class Place(NamedTuple):
    """Where an application is, as its senders see it."""

    secure: bool
    """Whether the relay speaks TLS."""
    host: str
    port: int


def place(address: str) -> Place:
    """What the address of a listener says."""
    url = urlsplit(address)
    secure = url.scheme in ("https", "wss", "sb")
    return Place(secure, url.hostname or "localhost", url.port or (443 if secure else 80))


class Target(NamedTuple):
    """What a sender asked for."""

    mount: str
    """The hybrid connection, decoded: ``/hyco``."""
    raw: bytes
    """Mount and path as the sender wrote them."""
    below: bytes
    """The path below the mount, decoded. Never empty: a request for the mount itself is one for ``/``, as with any server."""

    @property
    def path(self) -> str:
        """Mount and path, decoded."""
        return self.mount + self.below.decode("utf-8", "replace")


def target(mount: str, path: str) -> Target:
    """Puts together what a sender asked for."""
    path = path or "/"
    return Target(unquote(mount), (mount + path).encode(), unquote_to_bytes(path))


def phrase(status: int) -> str:
    """The usual reason phrase of a status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
