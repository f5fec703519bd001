"""Header fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, Union

HeaderTypes: TypeAlias = Union[
    "Headers", Mapping[str, str], Mapping[bytes, bytes], Iterable[tuple[str, str]], Iterable[tuple[bytes, bytes]]
]
"""What is taken where headers are given: a mapping or pairs, of text or of bytes."""


class Headers(Mapping[str, str]):
    """Header fields by name, whatever the case. Several fields of one name are one value, joined by ``", "``.

    ``raw`` is what was sent, field by field.
    """

    __slots__ = ("raw",)

    raw: tuple[tuple[bytes, bytes], ...]
    """Names and values as they were sent."""

    def __init__(self, fields: HeaderTypes | None = None) -> None:
        self.raw = tuple(encode(fields))

    @classmethod
    def _received(cls, fields: list[tuple[bytes, bytes]]) -> Headers:
        """Those that the native half hands over."""
        headers = cls.__new__(cls)
        headers.raw = tuple(fields)
        return headers

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1").lower() for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.raw})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_list(name))

    def get_list(self, name: str) -> list[str]:
        """The values of one name, field by field."""
        wanted = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for name_, value in self.raw if name_.lower() == wanted]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every field."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return sorted(_folded(self.raw)) == sorted(_folded(other.raw))
        return Mapping.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # Names only: values may be the program's own credentials.
        return f"Headers({list(self)})"


def _folded(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in fields]


def encode(fields: HeaderTypes | None) -> list[tuple[bytes, bytes]]:
    """The fields as bytes."""
    if fields is None:
        return []
    if isinstance(fields, Headers):
        return list(fields.raw)
    pairs: Iterable[tuple[str | bytes, str | bytes]]
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return [(_bytes(name), _bytes(value)) for name, value in pairs]


def decode(fields: HeaderTypes | None) -> list[tuple[str, str]]:
    """The fields as text."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in encode(fields)]


def _bytes(text: str | bytes) -> bytes:
    if type(text) is bytes:
        return text
    if isinstance(text, str):
        return text.encode("latin-1") if text.isascii() else _latin(text)
    return bytes(text)


def _latin(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        # Field values beyond Latin-1 have no encoding of their own; UTF-8 is what most ends expect.
        return text.encode("utf-8")
