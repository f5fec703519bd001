"""What the blocking objects have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, Union, cast

from .._run import run

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")
Self = TypeVar("Self", bound="_Wrapper[Any]")


ContentTypes: TypeAlias = Union[str, "Buffer", Iterable[Any]]
"""A body: text, bytes, or chunks of bytes from an iterable."""


class _Wrapper(Generic[T]):
    """Stands before the object with the same name that is for asyncio."""

    __slots__ = ("_inner",)

    def __init__(self, inner: T) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner).replace("<hybridrelay.", "<hybridrelay.sync.", 1)


class _Closing(_Wrapper[T]):
    """One that ``with`` closes in the end, or aborts if the block ends by an exception."""

    __slots__ = ()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(cast(Any, self._inner).__aexit__(kind, error, trace))


async def _next(iterator: AsyncIterator[T]) -> T | None:
    return await anext(iterator, None)


def _each(iterator: AsyncIterator[T]) -> Iterator[T]:
    """The same for blocking calls. Unlike a generator it goes on behind an exception, such as that of Ctrl-C."""
    return iter(lambda: run(_next(iterator)), None)


async def _open(opening: Any) -> Any:
    return await opening
