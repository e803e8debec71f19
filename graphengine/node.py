"""Nodes: an op, its arguments, a shape; operators on nodes mean what they mean in NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, final

import numpy as np

from graphengine.errors import GraphError
from graphengine.ops.arithmetic import Add, Divide, MatMul, Multiply, Negative, Power, Subtract
from graphengine.ops.base import ATOM, SIGN, Array, Op, Operand, Shape, Written
from graphengine.ops.linalg import Transpose
from graphengine.ops.rearrangement import pick
from graphengine.ops.selection import Greater, GreaterEqual, Less, LessEqual

if TYPE_CHECKING:
    from graphengine.graph import Graph

__all__ = ["KINDS", "Kind", "Node", "Role", "literal"]

Role: TypeAlias = Literal["input", "parameter", "constant", "op"]
Kind: TypeAlias = Literal[
    "real",
    "positive",
    "one_hot",
    "probability",
    "label",
    "symmetric",
    "positive_definite",
    "binary",
    "sign",
]

KINDS: Mapping[Kind, str] = {
    "real": "any real numbers (the default)",
    "positive": "numbers above zero",
    "one_hot": "one 1 along the last axis, zeros elsewhere",
    "probability": "positive numbers that add up to 1 along the last axis",
    "label": "class indices, whole numbers from 0",
    "symmetric": "a symmetric matrix (the last two axes)",
    "positive_definite": "a symmetric positive definite matrix (the last two axes)",
    "binary": "zeros and ones",
    "sign": "−1 and 1",
}
"""What a start node's values may be like, for those who sample them."""


_ADD, _SUBTRACT, _MULTIPLY, _DIVIDE = Add(), Subtract(), Multiply(), Divide()
_POWER, _NEGATIVE = Power(), Negative()


@final
class Node(Operand):
    """One node: its op, its arguments (nodes, or fixed numbers), its shape.

    Nodes are made by a :class:`Graph` and by operators and functions on nodes.
    """

    __slots__ = ("_name", "args", "graph", "kind", "number", "op", "role", "shape", "value")
    __array_ufunc__ = None  # so that ndarray @ node comes to the node

    def __init__(
        self,
        graph: Graph,
        number: int,
        name: str | None,
        role: Role,
        shape: Shape,
        op: Op | None = None,
        args: tuple[Node | Array, ...] = (),
        *,
        kind: Kind = "real",
        value: Array | None = None,
    ) -> None:
        self.graph, self.number, self._name, self.role = graph, number, name, role
        self.shape, self.op, self.args, self.kind, self.value = shape, op, args, kind, value

    @property
    def name(self) -> str:
        """The name given, or one made from the named node that it serves (``J.1``)."""
        if self._name is None:
            self.graph._name_the_unnamed()
        return self._name or ""

    @property
    def named(self) -> bool:
        """Whether somebody gave this node its name."""
        return self._name is not None and self._name in self.graph._given

    @property
    def parents(self) -> tuple[Node, ...]:
        """The nodes whose values the op takes, each once, in the order of the arguments."""
        return tuple(dict.fromkeys(arg for arg in self.args if isinstance(arg, Node)))

    @property
    def size(self) -> int:
        """The number of entries of the value."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """The number of axes of the value."""
        return len(self.shape)

    @property
    def T(self) -> Node:
        """The value with its axes reversed, as in NumPy."""
        return self.graph.add(Transpose(), (self,))

    @property
    def formula(self) -> str:
        """The op as formula text, with the unnamed nodes that it takes written out."""
        return "" if self.op is None else _written(self).text

    @property
    def called(self) -> dict[str, str]:
        """What the op's arguments and its value (``out``) are called in this graph.

        A short unnamed argument is called by its formula.
        """
        assert self.op is not None
        names = {"out": _short_name(self)}
        if not self.op.variadic:
            for argument, arg in zip(self.op.arguments, self.args, strict=True):
                names[argument] = _short_name(arg)
        return names

    def _apply(self, op: Op, args: Sequence[Any]) -> Node:
        return self.graph.add(op, args)

    # NumPy's operators, with NumPy's meaning.
    def __add__(self, other: Any) -> Node:
        return self.graph.add(_ADD, (self, other))

    def __radd__(self, other: Any) -> Node:
        return self.graph.add(_ADD, (other, self))

    def __sub__(self, other: Any) -> Node:
        return self.graph.add(_SUBTRACT, (self, other))

    def __rsub__(self, other: Any) -> Node:
        return self.graph.add(_SUBTRACT, (other, self))

    def __mul__(self, other: Any) -> Node:
        return self.graph.add(_MULTIPLY, (self, other))

    def __rmul__(self, other: Any) -> Node:
        return self.graph.add(_MULTIPLY, (other, self))

    def __truediv__(self, other: Any) -> Node:
        return self.graph.add(_DIVIDE, (self, other))

    def __rtruediv__(self, other: Any) -> Node:
        return self.graph.add(_DIVIDE, (other, self))

    def __pow__(self, other: Any) -> Node:
        return self.graph.add(_POWER, (self, other))

    def __rpow__(self, other: Any) -> Node:
        return self.graph.add(_POWER, (other, self))

    def __matmul__(self, other: Any) -> Node:
        return self.graph.add(MatMul(), (self, other))

    def __rmatmul__(self, other: Any) -> Node:
        return self.graph.add(MatMul(), (other, self))

    # No ==: nodes are keys, and equal only to themselves; ge.equal compares values.
    def __gt__(self, other: Any) -> Node:
        return self.graph.add(Greater(), (self, other))

    def __lt__(self, other: Any) -> Node:
        return self.graph.add(Less(), (self, other))

    def __ge__(self, other: Any) -> Node:
        return self.graph.add(GreaterEqual(), (self, other))

    def __le__(self, other: Any) -> Node:
        return self.graph.add(LessEqual(), (self, other))

    def __neg__(self) -> Node:
        return self.graph.add(_NEGATIVE, (self,))

    def __getitem__(self, key: Any) -> Node:
        op, indices = pick(key)
        return self.graph.add(op, (self, *indices))

    def __iter__(self) -> NoReturn:
        raise GraphError(
            f"node {self.name!r}",
            expected="a node to be used in formulas",
            got="a loop over its entries",
            hint="index it (x[0], x[1]), or use an op: sum(x), stack([x, y])",
        )

    def __bool__(self) -> bool:
        raise GraphError(
            f"node {self.name!r}",
            expected="a node to be used in formulas",
            got="a test of its truth",
            hint="a node has no value before a run; use where(…) or maximum(…)",
        )

    def __repr__(self) -> str:
        what = self.formula or self.role
        return f"<Node {self.name}: {what}, shape {self.shape}>"


_LONGEST = 400


_SHORT = 24


def _short_name(arg: Node | Array) -> str:
    if not isinstance(arg, Node):
        return f"{float(arg):.6g}" if arg.ndim == 0 else "c"
    text = arg.formula if _is_small(arg) else ""
    return text if 0 < len(text) <= _SHORT else arg.name


def _is_small(node: Node) -> bool:
    """Whether ``node``'s formula, unnamed arguments written out, can be short at all."""
    count, stack = 0, [node]
    while stack and count <= _SHORT:
        top = stack.pop()
        count += 2  # an operator and an operand at least
        stack += (a for a in top.args if isinstance(a, Node) and a.op is not None and not a.named)
    return not node.named and count <= _SHORT


def _written(node: Node) -> Written:
    """``node``'s op as text; unnamed arguments are written out unless too long; no recursion.

    The graph keeps the texts: along a chain of unnamed nodes each would be written again for each.
    """
    done = node.graph._texts
    stack = [node]
    while stack:
        top = stack[-1]
        waiting = [
            arg
            for arg in top.args
            if isinstance(arg, Node) and not arg.named and arg.op and arg.number not in done
        ]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        if top.number not in done and top.op is not None:
            args = [_operand(arg, done) for arg in top.args]
            done[top.number] = top.op.written(*args)
    return done[node.number]


def _operand(arg: Node | Array, done: Mapping[int, Written]) -> Written:
    if not isinstance(arg, Node):
        return Written(literal(arg), ATOM if arg.ndim or arg >= 0 else SIGN)
    if arg.number in done and not arg.named:
        known = done[arg.number]
        # Written out, an unnamed node that is used twice, over and over, would fill the memory.
        return known if len(known.text) <= _LONGEST else Written("…", ATOM)
    return Written(arg.name, ATOM)


def literal(array: Array) -> str:
    """Fixed numbers as formula text.

    >>> literal(np.eye(3)), literal(np.zeros((2, 3))), literal(np.array([1.0, 0.5]))
    ('eye(3)', 'zeros(2, 3)', '[1, 0.5]')
    """
    if array.size > 1:
        sizes = ", ".join(map(str, array.shape))
        if array.ndim == 2 and np.array_equal(array, np.eye(*array.shape)):
            return f"eye({len(array)})" if array.shape[0] == array.shape[1] else f"eye({sizes})"
        if np.all(array == 0) and not np.any(np.signbit(array)):
            return f"zeros({sizes})"
        if np.all(array == 1):
            return f"ones({sizes})"

    def number(value: float) -> str:
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)

    def nested(value: Any) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(nested, value)) + "]"
        return number(value) if np.isfinite(value) else repr(value)

    return nested(array.tolist())
