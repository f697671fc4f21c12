"""Columns that belong to this package, in targets and in staged files."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "_elt_"
"""No source column may begin with this: it belongs to these columns, and to aliases in our SQL."""
LOAD_ID: Final = "_elt_load_id"
SEQ: Final = "_elt_seq"
DELETED_AT: Final = "_elt_deleted_at"
VALID_FROM: Final = "_elt_valid_from"
VALID_TO: Final = "_elt_valid_to"
IS_CURRENT: Final = "_elt_is_current"
EXACT: Final = "_elt_exact"
"""In staged files only: JSON text ``{"column": "value"}`` for values that the column's Arrow type cannot hold
(infinity, dates before Christ, NaN in a decimal, 24:00:00). The column itself is NULL in that row."""
OP: Final = "_elt_op"
"""In staged files only: what a row means, where it is no plain row of the table. NULL: the row as it is now; ``d``: a
key that is gone; ``k``: a key that is there; ``b...``: a bucket that changed; ``p0``, ``p1``...: the row as it is now,
but for the columns of the manifest's ``unchanged[0]``, ``unchanged[1]``..., which the source did not send."""

RESERVED: Final = frozenset({LOAD_ID, SEQ, DELETED_AT, VALID_FROM, VALID_TO, IS_CURRENT, EXACT, OP})
