"""What a spec file may say: strict pydantic models, and their errors at the place in the file."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from graphengine.errors import SpecError, nearest
from graphengine.files.yaml_text import Item, Listing, Mapping, Scalar, find
from graphengine.graph import Kind

__all__ = [
    "DerivationPart",
    "FileSource",
    "LongNode",
    "MistakeKind",
    "Rubric",
    "SpecFile",
    "Start",
    "SubmissionFile",
    "ValuesFile",
    "json_schema",
    "validated",
]

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
FormulaText: TypeAlias = str | int | float
Size: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]
_NUMBERS = {
    "description": "A number, or a list of numbers, nested to any depth.",
    "anyOf": [{"type": "number"}, {"type": "array", "items": {"$ref": "#/$defs/Numbers"}}],
}
_HERE = {"const": "Numbers"}  # stands for a reference to them, which pydantic does not know


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class FileSource(_Part):
    """Numbers from a file beside the spec."""

    file: str = Field(description="A .npz, .npy or .csv file in the spec's folder or below it.")
    key: str | None = Field(None, description="The array's name in an .npz (else the node's name).")
    columns: int | list[int] | None = Field(
        None, description="Of a .csv, from 0: one number gives a vector, a list a matrix."
    )
    skip: int | None = Field(None, ge=0, description="Lines of a .csv to pass over.")


def _source(given: Any) -> str:
    return "a file" if isinstance(given, (dict, FileSource)) else "numbers"


Source: TypeAlias = Annotated[
    Annotated[FileSource, Tag("a file")] | Annotated[Any, Tag("numbers"), WithJsonSchema(_HERE)],
    Discriminator(_source),
]


class Start(_Part):
    """An input or a parameter."""

    shape: list[int | str] = Field(
        default_factory=list, description="Sizes: letters, whole numbers, 2*d; a number has []."
    )
    kind: Kind = Field("real", description="What its values are like, for those who sample them.")


class LongNode(BaseModel):
    """A node in the long form; further keys are the op's parameters."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    op: str = Field(description="The name of an op.")
    parents: list[str | int | float] = Field(description="Names of nodes, or numbers.")


def _node(given: Any) -> str:
    return "the long form" if isinstance(given, (dict, LongNode)) else "a formula"


NodeText: TypeAlias = Annotated[
    Annotated[LongNode, Tag("the long form")] | Annotated[FormulaText, Tag("a formula")],
    Discriminator(_node),
]


class DerivationPart(_Part):
    """What somebody derived by hand."""

    layout: Literal["numerator", "denominator"] = Field(
        "numerator", description="Whether ∂y/∂x has a row for each y (numerator) or a column."
    )
    let: dict[Name, FormulaText] = Field(
        default_factory=dict, description="Names for parts: name: formula."
    )
    claims: dict[str, FormulaText] = Field(description="J/W: a formula for ∂J/∂W.", min_length=1)


MistakeKind: TypeAlias = Literal[
    "sign",
    "factor",
    "transposed",
    "jacobian_transposed",
    "kronecker_order",
    "missing_path",
    "double_counted",
    "missing_jacobian",
    "wrong_slope",
    "wrong_argument",
    "diagonal_only",
    "swapped_arguments",
    "not_averaged",
    "averaged_twice",
    "not_reduced",
    "mean_for_sum",
    "last_only",
    "treated_as_constant",
    "missing_regulariser",
    "regulariser_scale",
    "regularised_bias",
    "one_sided_mask",
    "tie",
    "pattern_missing",
    "pattern_extra",
    "shifted",
    "reordered",
    "shape",
]
"""The kinds of mistakes that a diagnosis can name; see :class:`graphengine.check.Mistake`."""

PointsOfClaim: TypeAlias = Annotated[float, Field(ge=0, le=1_000_000)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class Rubric(_Part):
    """What part of a claim's points a grade gives where the claim is not simply right.

    >>> Rubric(mistakes={"sign": 0.5}).carried
    1.0
    """

    carried: Annotated[
        Fraction, Field(description="Wrong, but right given an earlier wrong claim.")
    ] = 1.0
    undecided: Annotated[Fraction, Field(description="Neither right nor wrong by the numbers.")] = (
        0.0
    )
    missing: Annotated[Fraction, Field(description="Not claimed.")] = 0.0
    mistakes: dict[MistakeKind, Fraction] = Field(
        default_factory=dict, description="Wrong by one mistake of this kind, for certain."
    )


class SpecFile(_Part):
    """A computational graph, a point to run it at, and what somebody derived by hand."""

    model_config = ConfigDict(title="graphengine spec", strict=True, extra="forbid", frozen=True)

    graphengine: Literal[1] = Field(description="The version of the format.")
    name: str = Field("", description="What the graph is called.")
    about: str = Field("", description="What it is.")
    sizes: dict[Name, Size] = Field(
        default_factory=dict, description="Letters for dimensions, with a size to start from."
    )
    inputs: dict[Name, Start | None] = Field(default_factory=dict, description="Data.")
    parameters: dict[Name, Start | None] = Field(
        default_factory=dict, description="What is to be learnt."
    )
    constants: dict[Name, Source] = Field(default_factory=dict, description="Fixed numbers.")
    nodes: dict[Name, NodeText] = Field(description="name: formula, in any order.", min_length=1)
    result: str | None = Field(None, description="The node to be differentiated.")
    values: dict[str, Source] = Field(default_factory=dict, description="A point to run at.")
    derivation: DerivationPart | None = None
    points: dict[str, PointsOfClaim] = Field(
        default_factory=dict,
        description="J/W: the points of this claim in a grade, for those that count.",
    )
    rubric: Rubric | None = Field(None, description="Partial credit, as parts of a claim's points.")


class SubmissionFile(_Part):
    """A derivation alone, to be checked against somebody else's spec."""

    graphengine: Literal[1] = 1
    name: str = ""
    about: str = ""
    derivation: DerivationPart


class ValuesFile(_Part):
    """Values alone, for a run at another point."""

    values: dict[str, Source]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of spec files, for completion and checks in editors."""
    schema = _referring(SpecFile.model_json_schema())
    schema["$defs"]["Numbers"] = _NUMBERS
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _referring(part: Any) -> Any:
    if part == _HERE:
        return {"$ref": "#/$defs/Numbers"}
    if isinstance(part, dict):
        return {key: _referring(value) for key, value in part.items()}
    return [_referring(value) for value in part] if isinstance(part, list) else part


# --- errors -------------------------------------------------------------------------------

_Model = TypeVar("_Model", bound=BaseModel)
_EXPECTED: MappingType[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "dict_type": "a mapping (name: …)",
    "model_type": "a mapping (name: …)",
    "model_attributes_type": "a mapping (name: …)",
    "list_type": "a list",
    "none_required": "nothing",
    "string_pattern_mismatch": "a name: a letter or _, then letters, digits and _",
    "too_short": "at least one entry",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
}


def validated(model: type[_Model], root: Item) -> _Model:
    """``root`` as a ``model``; :class:`SpecError` at the place of the first thing that is wrong.

    An unknown key is named before a missing one: it is often the same, misspelt.
    """
    try:
        return model.model_validate(root.plain)
    except ValidationError as error:
        found = [(_located(root, one, model), one) for one in error.errors(include_url=False)]
        order = ["extra_forbidden", "missing"]
        ranked = sorted(
            found,
            key=lambda pair: (
                order.index(pair[1]["type"]) if pair[1]["type"] in order else 2,
                pair[0][0],
            ),
        )
        raise ranked[0][0][1] from None


def _located(
    root: Item, error: ErrorDetails, model: type[BaseModel]
) -> tuple[tuple[int, int], SpecError]:
    """The place (to sort by) and the error in our words."""
    path, kind = error["loc"], error["type"]
    item, key = find(root, path[:-1] if kind == "missing" else path)
    if kind == "missing":
        wanted = SpecError(item.place, expected=f"the key {path[-1]!r}", got="none")
        return (item.line, item.column), wanted
    if kind == "extra_forbidden" and key is not None:
        known = _keys(model, path)
        hint = nearest(key.text, known)
        expected = f"one of the keys {', '.join(known)}"
        return (key.line, key.column), SpecError(
            key.place, expected=expected, got=repr(key.text), hint=hint
        )
    placed = key if path and path[-1] == "[key]" and key is not None else item
    shown = _shown(placed)
    expected = _EXPECTED.get(kind, "").format(**error.get("ctx", {})) or error["msg"].lower()
    if kind == "string_type" and {"nodes", "let", "claims"}.intersection(map(str, path)):
        expected = "a formula"
    hint = _hint(kind, placed, expected)
    if path[:2] == ("rubric", "mistakes") and placed is key:
        expected, hint = "a kind of mistake", hint or "such as sign, factor or transposed"
    return (placed.line, placed.column), SpecError(
        placed.place, expected=expected, got=shown, hint=hint
    )


def _keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that the model knows at the place of an unknown one."""
    parts: list[tuple[str, type[BaseModel]]] = [
        ("inputs", Start),
        ("parameters", Start),
        ("constants", FileSource),
        ("values", FileSource),
        ("derivation", DerivationPart),
        ("rubric", Rubric),
    ]
    inner = next((part for name, part in parts if len(path) > 1 and path[0] == name), model)
    return list(inner.model_fields)


def _shown(item: Item) -> str:
    if isinstance(item, Scalar):
        if item.plain is None and not item.text:
            return "nothing"
        return item.text[:60] if not isinstance(item.plain, str) else repr(item.text[:60])
    if isinstance(item, Mapping):
        return "a mapping" if item.items else "an empty mapping"
    return "a list" if item.items else "an empty list"


def _hint(kind: str, item: Item, expected: str) -> str:
    text = item.text if isinstance(item, Scalar) else ""
    if kind == "list_type" and text:
        return f"write [{text}]"
    if kind == "literal_error" and text == expected:
        return "without the quotes"
    if kind == "literal_error" and text:
        return nearest(
            text, [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
        )
    plain = item.plain if isinstance(item, Scalar) else None
    if isinstance(plain, float) and plain.is_integer():
        return f"write {int(plain)}"
    if kind in {"int_type", "float_type"} and text[:1].isdigit():
        return "numbers are decimal: digits, a point, and e for powers of ten"
    if kind == "string_type" and isinstance(item, Listing):
        return f"{expected} that starts with a bracket stands in quotes"
    if kind == "string_type" and text and expected == "text":
        return "put it in quotes"
    return ""
