"""PostgreSQL's array literals as JSON text, in Snowflake's SQL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_NUMBERS: Final = re.compile(r"(?:smallint|integer|bigint|numeric|real|double precision|money|oid)\b", re.IGNORECASE)
_BOX: Final = re.compile(r"box\b")
_BARE: Final = r"^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$"
_ESCAPED: Final = r'\\(["\\])'
_FIRST_GROUP: Final = r"\1"
_BOUNDS: Final = r"^(\[-?[0-9]+:-?[0-9]+\])+="


def array_json(text: str, source_type: str, literal: Callable[[str], str]) -> str:
    """Return the expression that turns an array literal into JSON text.

    Numbers stay bare, digit for digit, where the elements are numbers; ``NaN`` and the infinities become strings, as
    does every element of another type but NULL and booleans. Bounds (``[2:4]=``) are left out. Snowflake's patterns
    know no groups that do not capture, and ``.`` is no line break.

    :param text: an expression with the literal.
    :param source_type: declaration at the source, e.g. ``integer[]``.
    :param literal: writes a string constant.
    """
    delimiter = ";" if _BOX.match(source_type) else ","
    token = literal(rf'"([^"\\]|{_ESCAPED})*"|[{{}}{delimiter}]|[^{{}}"{delimiter}]+')
    tokens = f"REGEXP_SUBSTR_ALL(REGEXP_REPLACE({text}, {literal(_BOUNDS)}, ''), {token})"
    element = _element(source_type, delimiter, literal)
    return f"ARRAY_TO_STRING(TRANSFORM({tokens}, _elt_x VARCHAR -> {element}), '')"


def _element(source_type: str, delimiter: str, literal: Callable[[str], str]) -> str:
    inside = "SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2)"
    unescaped = f"REGEXP_REPLACE({inside}, {literal(_ESCAPED)}, {literal(_FIRST_GROUP)})"
    quoted = "TO_JSON(TO_VARIANT(_elt_x))"
    if _NUMBERS.match(source_type):
        bare = f"CASE WHEN REGEXP_LIKE(_elt_x, {literal(_BARE)}) THEN _elt_x ELSE {quoted} END"
    elif source_type.startswith("boolean"):
        bare = f"CASE _elt_x WHEN 't' THEN 'true' WHEN 'f' THEN 'false' ELSE {quoted} END"
    else:
        bare = quoted
    return (
        f"CASE WHEN _elt_x = '{{' THEN '[' WHEN _elt_x = '}}' THEN ']' WHEN _elt_x = '{delimiter}' THEN ',' "
        f"WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '\"' THEN TO_JSON(TO_VARIANT({unescaped})) "
        f"ELSE {bare} END"
    )
