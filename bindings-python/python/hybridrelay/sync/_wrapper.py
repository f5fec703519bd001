"""What the blocking objects have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


async def _next(iterator: Any) -> Any:
    return await iterator.__anext__()


def _each(iterator: Any) -> Iterator[Any]:
    try:
        while True:
            try:
                yield run(_next(iterator))
            except StopAsyncIteration:
                return
    finally:
        run(iterator.aclose())


async def _open(opening: Any) -> Any:
    return await opening
