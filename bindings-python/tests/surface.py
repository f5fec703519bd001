"""Tells what the package offers: each public name with its members and parameters, and whether it is documented. As JSON, for the table of
all languages."""

from __future__ import annotations

import ast
import enum
import functools
import inspect
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, is_typeddict

import hybridrelay
import hybridrelay.httpx
import hybridrelay.pytest_plugin


def texts() -> set[tuple[str, str]]:
    """Fields and aliases behind which a text stands: class, or nothing, and name."""
    found = set()
    for file in Path(hybridrelay.__file__).parent.glob("*.py"):
        module = ast.parse(file.read_text())
        scopes: list[ast.Module | ast.ClassDef] = [node for node in module.body if isinstance(node, ast.ClassDef)]
        for scope in [module, *scopes]:
            owner = scope.name if isinstance(scope, ast.ClassDef) else ""
            for item, text in zip(scope.body, scope.body[1:], strict=False):
                if isinstance(item, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(item.target, ast.Name):
                    found.add((owner, item.target.id))
    return found


TEXTS = texts()


def has_text(owner: type, field: str) -> bool:
    """Whether the text of a field stands in its class or in one that this one is made from."""
    bases = list(owner.__mro__)
    if is_typeddict(owner):
        # At run time it knows nothing of those.
        fields = owner.__annotations__.keys()
        bases += [
            other
            for other in vars(hybridrelay).values()
            if is_typeddict(other) and other.__annotations__.keys() <= fields
        ]
    return any((base.__name__, field) in TEXTS for base in bases)


def members(owner: type) -> Iterator[tuple[str, str, bool]]:
    """Public members of a class of ours: name, what it is, whether it is documented."""
    ours = [base for base in owner.__mro__ if base.__module__.startswith("hybridrelay")]
    names = {name: None for base in ours for name in (*vars(base), *getattr(base, "__annotations__", ()))}
    for name in names:
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(owner, name, None)
        if isinstance(value, enum.Enum):
            # Each is what its name says; the table says what that is in other languages.
            yield name, "value", bool(owner.__doc__)
        elif isinstance(value, types.FunctionType | classmethod | staticmethod):
            yield name, "method", bool(inspect.getdoc(getattr(owner, name)))
        elif isinstance(value, property | functools.cached_property):
            yield name, "field", bool(inspect.getdoc(value))
        else:
            yield name, "option" if is_typeddict(owner) else "field", has_text(owner, name)


def parameters(path: str, value: Any) -> Iterator[tuple[str, str, bool]]:
    """Named parameters of a call: their paths, and whether the text of the call, or that of the class, tells of them."""
    text = inspect.getdoc(value) or ""
    call = value.__init__ if inspect.isclass(value) else value
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name != "self":
            yield f"{path}({name})", "parameter", re.search(rf"\b{name}\b", text) is not None


def surface() -> Iterator[tuple[str, str, bool]]:
    """Everything."""
    fixtures = [name for name in vars(hybridrelay.pytest_plugin) if name.startswith("hybridrelay_")]
    for prefix, module, names in (
        ("", hybridrelay, hybridrelay.__all__),
        ("httpx.", hybridrelay.httpx, hybridrelay.httpx.__all__),
        ("pytest_plugin.", hybridrelay.pytest_plugin, fixtures),
    ):
        for name in names:
            path, value = prefix + name, getattr(module, name)
            if inspect.isclass(value):
                yield path, "name", bool(value.__doc__)
                yield from parameters(path, value)
                for member, kind, documented in members(value):
                    yield f"{path}.{member}", kind, documented
                    if kind == "method":
                        yield from parameters(f"{path}.{member}", getattr(value, member))
            else:
                yield path, "name", ("", name) in TEXTS or bool(inspect.getdoc(value))
                if inspect.isfunction(value):
                    yield from parameters(path, value)


if __name__ == "__main__":
    print(json.dumps([dict(zip(("path", "kind", "documented"), item, strict=True)) for item in surface()]))
