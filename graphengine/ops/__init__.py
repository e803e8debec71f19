"""The ops, one block each, in families; the table of them and the functions that apply them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType, ModuleType
from typing import Any

from graphengine.errors import OpError, nearest
from graphengine.ops import (
    activations,
    arithmetic,
    elementwise,
    linalg,
    losses,
    rearrangement,
    reductions,
    selection,
)
from graphengine.ops.base import Op
from graphengine.ops.parameters import declared, described, fits, in_words, plain

__all__ = ["FAMILIES", "OPS", "OpFunction", "function", "functions", "table"]

FAMILIES: tuple[ModuleType, ...] = (
    arithmetic,
    elementwise,
    activations,
    selection,
    reductions,
    losses,
    linalg,
    rearrangement,
)
"""The modules that hold ops, in the order of the table."""


def table(modules: Iterable[ModuleType]) -> dict[str, type[Op]]:
    """The ops that ``modules`` define, by name, in the order of the text."""
    found: dict[str, type[Op]] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Op) and value.name:
                if value.__module__ != module.__name__:
                    continue
                if found.setdefault(value.name, value) is not value:
                    raise OpError(f"op {value.name!r}", expected="one class", got="two")
    return found


class OpFunction:
    """An op as a function: arguments first, then the op's parameters by place or by name.

    Applied to nodes it makes a node, applied to numbers it gives the value.

    >>> function("sum")([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([4., 6.])
    """

    def __init__(self, op: type[Op]) -> None:
        self.op = op
        self.__name__ = op.name
        self.__doc__ = op.__doc__
        self._fields = fields(op)  # type: ignore[arg-type]  # each op is one
        self._only = None if self._fields else op()
        self._arity = None if op.variadic else len(op.arguments)

    def __call__(self, *args: Any, **parameters: Any) -> Any:
        if self._only is not None and len(args) == self._arity and not parameters:
            return self._only(*args)
        if self.op.variadic:
            if len(args) >= 1 and isinstance(args[0], (list, tuple)):
                args, places = tuple(args[0]), args[1:]
            else:
                places = ()
        else:
            args, places = args[: len(self.op.arguments)], args[len(self.op.arguments) :]
        return self.make(places, parameters)(*args)

    def make(self, places: tuple[Any, ...], parameters: Mapping[str, Any]) -> Op:
        """The op with these parameters; :class:`OpError` for one that it does not have."""
        if self._only is not None and not (places or parameters):
            return self._only
        names = [field.name for field in self._fields]
        if len(places) > len(names):
            raise OpError(
                self.op.name,
                expected=f"arguments {', '.join((*self.op.arguments, *names))}",
                got=f"{len(places) - len(names)} more",
            )
        given = dict(zip(names, places, strict=False))
        for name, value in parameters.items():
            if name not in names or name in given:
                raise OpError(
                    self.op.name,
                    expected=f"parameters {', '.join(names)}" if names else "no parameters",
                    got=f"{name}= twice" if name in given else f"{name}=",
                    hint=nearest(name, names),
                )
            given[name] = value
        missing = [
            field.name
            for field in self._fields
            if field.name not in given and field.default is MISSING
        ]
        if missing:
            raise OpError(self.op.name, expected=f"parameter {missing[0]}=", got="none")
        given = {name: plain(value) for name, value in given.items()}
        for name, value, hint in declared(self.op, (), given):
            if not fits(value, hint):
                raise OpError(
                    self.op.name,
                    expected=f"{name}= as {in_words(hint)}",
                    got=f"{name}={described(value)}",
                )
        return self.op(**given)

    def __repr__(self) -> str:
        return f"<op {self.op.name}>"


OPS: Mapping[str, type[Op]] = MappingProxyType(table(FAMILIES))
"""The ops that the library brings, by name."""

_FUNCTIONS = MappingProxyType({name: OpFunction(op) for name, op in OPS.items()})


def function(name: str) -> OpFunction:
    """The function of the library's op of this name."""
    return _FUNCTIONS[name]


def functions(ops: Iterable[type[Op]] = ()) -> dict[str, OpFunction]:
    """All functions by name: the library's and those of ``ops``, a caller's own."""
    found = dict(_FUNCTIONS)
    for op in ops:
        if not op.name or (op.name in found and found[op.name].op is not op):
            raise OpError(
                f"op {op.__name__!r}",
                expected="a name that no other op has",
                got=repr(op.name),
                hint="give the class another name = '…'",
            )
        found[op.name] = OpFunction(op)
    return found
