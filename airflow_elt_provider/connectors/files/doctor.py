"""Whether files can be listed and read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from airflow_elt_provider.connectors.files.listing import Listing, changed, fetched
from airflow_elt_provider.core.doctor import Finding, checked, note, ok

_MOST: Final = 1000


def nothing_named() -> Finding:
    """Say that there is nothing to look at."""
    return note("connect", "leads to files; name some to have them listed and read: --source-path")


def examine(listing: Listing) -> Iterator[Finding]:
    """List the files, and read the smallest of them."""
    path = listing.pattern.text
    files = list(islice(listing.files(), _MOST))
    if not files:
        yield note(f"{path}: list", "no file matches, and nothing stands in the way of listing them")
        return
    amount = f"{len(files):,} files" + (" or more" if len(files) == _MOST else "")
    yield ok(f"{path}: list", "; ".join([amount, *listing.notes()]))
    smallest = min(files, key=lambda file: file.bytes)

    def read() -> str:
        try:
            with fetched(listing.store, [smallest], lambda _: None):
                return f"{smallest.uri}, {smallest.bytes:,} bytes"
        except FileNotFoundError as error:
            raise changed(smallest.uri) from error

    yield checked(f"{path}: read", read)
