"""Flat code in buffers: every array has its place before the first call; nothing is allocated."""

from __future__ import annotations

import numpy as np

from graphengine.flat.factors import IN_PLACE
from graphengine.flat.filling import Fill, Target
from graphengine.flat.statements import slice_text, statements
from graphengine.flat.storage import Storage
from graphengine.flat.writing import ATOM, Text, is_number
from graphengine.tracing import Traced

__all__ = ["BufferedWriter"]


class BufferedWriter(Storage):
    """A :class:`~graphengine.flat.program.Writer` whose arrays live in buffers."""

    def call(self, x: Traced) -> None:
        """One call: into its place, over an operand, or into a buffer."""
        step = x.step
        if isinstance(step.call, Fill):
            self.fill(x, step.call)
        elif self.sees(x):
            self.see(x)
        elif is_number(x):
            self.number(x)
        elif step.call == "placed":
            self.keep(x)
        elif step.call in IN_PLACE:
            step.call(self, x)
        elif step.call is np.reshape and not is_number(step.args[0]):
            self.copy(x)
        elif self.can_fill(x):
            self.into(x, self.home(x))
        else:
            self.assign(x, self.expression(x), None)
        self.release(x.number)

    def see(self, x: Traced) -> None:
        """A view: made once where it is one of a buffer."""
        text = self.expression(x)
        if self.in_buffer(x) or self.in_place(x):
            text = Text(self.hoisted(text.text), ATOM)
        self.texts[x.number] = text

    def copy(self, x: Traced) -> None:
        """A reshape of what is not in order: NumPy would copy some and show others."""
        home, inner = self.buffer(x), x.step.args[0]
        view = self.hoisted(f"{home}.reshape({', '.join(map(str, inner.shape))})")
        self.line(f"np.copyto({view}, {self.operand(inner).text})", x)
        self.texts[x.number] = Text(home, ATOM)

    def number(self, x: Traced) -> None:
        """A Python number: computed at once where it is read from arrays."""
        text = self.expression(x)
        plain = all(is_number(arg) for arg in x.step.args if isinstance(arg, Traced))
        if plain and self.uses[x.number] == 1 and len(text.text) < 60:
            self.texts[x.number] = text
        else:
            self.assign(x, text, self.recorded.names.get(x.number))

    def keep(self, x: Traced) -> None:
        """Zeros with values in some places: the zeros are written once."""
        flat = self.names.numbered("b")
        self.program.setup.append(f"{flat} = np.zeros({x.size})")
        whole = self.hoisted(f"{flat}.reshape({', '.join(map(str, x.shape))})")
        key = ", ".join(slice_text(item) for item in x.step.params["key"])
        inside = self.hoisted(f"{whole}[{key}]")
        self.line(f"{inside}[...] = {self.operand(x.step.args[0]).text}", x)
        self.texts[x.number] = Text(whole, ATOM)

    def into(self, x: Traced, home: str) -> None:
        """The statement that writes the result of a call into ``home``."""
        for text in statements(self, x, home):
            self.line(text, x)
        self.texts[x.number] = Text(home, ATOM)

    def fill(self, x: Traced, fill: Fill) -> None:
        """What was not computed in its place is copied there."""
        data = self.data(x)
        for value, target in zip(x.step.args, fill.targets, strict=True):
            if not self.in_place(value) or target.adds:
                self.put(x, data, value, target)
        turned = self._turned.get(x.number)
        if turned is not None and fill.rows is not None:
            width = fill.size // fill.rows
            rows = self.hoisted(f"{data}.reshape({fill.rows}, {width})")
            columns = self.hoisted(f"{turned}.reshape({width}, {fill.rows}).T")
            self.line(f"np.copyto({rows}, {columns})", x)
        self.texts[x.number] = Text(data, ATOM)

    def put(self, x: Traced, data: str, value: Traced, target: Target) -> None:
        """One value copied to its places in ``data``."""
        if isinstance(target.places, np.ndarray):
            super().put(x, data, value, target)
            return
        view, text = self.place(x, target.places), self.texts[value.number].text
        call = (
            f"np.add({view}, {text}, out={view})" if target.adds else f"np.copyto({view}, {text})"
        )
        self.line(call, x)

    def finish(self) -> None:
        """What is returned: the buffers; inputs that are results are copied into one."""
        for x in self.recorded.results:
            if isinstance(x, Traced) and x.shape and self.roots[x.number].step.call is None:
                home = self.buffer(x)
                self.line(f"np.copyto({home}, {self.texts[x.number].text})", x)
                self.texts[x.number] = Text(home, ATOM)
        shown = [
            self.texts[x.number].text
            if isinstance(x, Traced)
            else self.constant(np.asarray(x)).text
            for x in self.recorded.results
        ]
        self.returns(shown)
