"""Which files a load reads: those whose version nobody merged yet, or those that a cleared run merged before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow_elt_provider.connectors.files.listing import Listing
from airflow_elt_provider.connectors.files.merged import MergedFiles, version_of
from airflow_elt_provider.core.capture import NewFiles
from airflow_elt_provider.core.checkpoint import Position, SnapshotPosition
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import Memory, Outcome, StoredFile
from airflow_elt_provider.errors import DataError

_SHOWN: Final = 3
_FULL: Final = "full_refresh=True reads all files again and takes the place of every row that the stream appended"


@dataclass
class NewFilesPlan:
    """What one load takes from a listing, and what is merged once it is.

    :param base: what is merged already.
    :param mine: files and versions that this run merged before it was cleared: their rows go when this load is merged.
    :param repeats: whether exactly those are read, since later loads went on from there.
    """

    extraction: Extraction
    capture: NewFiles
    since: Position | None
    base: MergedFiles
    mine: Mapping[str, str]
    repeats: Position | None = None
    lost: bool = False
    chosen: list[StoredFile] = field(default_factory=list)
    seen: dict[str, None] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, extraction: Extraction, capture: NewFiles, since: Position | None, until: Position | None, memory: Memory
    ) -> NewFilesPlan:
        """Say what is merged, as far as the state file tells.

        :raises DataError: when it is gone, and rows would be appended twice without it.
        """
        state = MergedFiles.from_bytes(memory.state) if memory.state else None
        after = since.snapshot.loads if since and since.snapshot else 0
        if state is None:
            lost = since is not None or until is not None
            if lost and extraction.mode is WriteMode.APPEND and not extraction.dry_run:
                raise _lost(extraction)
            return cls(extraction, capture, since, MergedFiles.none(), {}, lost=lost)
        if until:
            same = until.snapshot is not None and until.snapshot.epoch == state.epoch
            last = until.snapshot.loads if until.snapshot and same else 0
            return cls(extraction, capture, since, state, dict(state.between(after, last)), until)
        base = state.until(after) if since else MergedFiles.none()
        return cls(extraction, capture, since, base, dict(state.between(after, state.loads)))

    # --- which files ---

    def files(self, listing: Listing) -> list[StoredFile]:
        """Read the listing and return the files to read, in the order in which they are read.

        :raises DataError: for a file that was replaced, or is gone, and must not be.
        """
        choose = self._choose_again if self.repeats else self._choose_new
        for file in listing.files():
            if file.uri not in self.seen and choose(file, listing):  # nobody lists twice; once is certain
                self.chosen.append(file)
            self.seen[file.uri] = None
        self._refuse_gone()
        self._refuse_replaced()
        self.chosen.sort(key=lambda file: (file.modified, file.uri), reverse=self.newest_wins)
        return self.chosen

    @property
    def newest_wins(self) -> bool:
        """Whether files come newest first, so that of rows with one key those of the newest file are taken."""
        return self.extraction.mode.needs_key

    def _choose_again(self, file: StoredFile, listing: Listing) -> bool:
        del listing
        return self.mine.get(file.uri) == version_of(file)

    def _choose_new(self, file: StoredFile, listing: Listing) -> bool:
        known = self.base.version(file.uri)
        if known == version_of(file):
            return False
        if not file.bytes:
            listing.leave("empty, without even a header")
            return False
        if self._is_young(file):
            listing.leave(f"changed less than {timedelta(seconds=self.capture.settle_seconds)} ago")
            return False
        if known is not None:
            self.replaced.append(file.uri)
        return True

    def _is_young(self, file: StoredFile) -> bool:
        settle = self.capture.settle_seconds
        return bool(settle) and (datetime.now(UTC) - (file.changed or file.modified)).total_seconds() < settle

    # --- refusals ---

    def _refuse_gone(self) -> None:
        """Refuse to take rows away that cannot be read again. :raises DataError: names the files."""
        there = {file.uri for file in self.chosen} if self.repeats else self.seen.keys()
        gone = sorted(uri for uri in self.mine if uri not in there)
        if gone:
            raise DataError(
                f"{self.extraction.stream}: this run was cleared, and of the files whose rows it appended "
                f"{_some(gone)} {'is' if len(gone) == 1 else 'are'} gone or replaced; nothing was changed.",
                hint=f"put them back as they were, or leave the run as it is; {_FULL}",
            )

    def _refuse_replaced(self) -> None:
        appends = self.extraction.mode is WriteMode.APPEND
        fails = self.capture.replaced == "fail" or (self.capture.replaced == "auto" and appends)
        if self.replaced and fails:
            raise DataError(
                f"{self.extraction.stream}: {_some(sorted(self.replaced))} "
                f"{'was' if len(self.replaced) == 1 else 'were'} loaded and replaced since; nothing was read.",
                hint="give new rows in files with new names, or clear the run that loaded them while it is the last; "
                "NewFiles(replaced='load') loads them once more, beside the rows that are there"
                if appends else "put them back as they were, or let them be loaded: NewFiles(replaced='load')",
            )  # fmt: skip

    # --- what becomes of the stream ---

    def position(self, position: Position) -> Position:
        """Return where the stream stands once the load is merged, but for the state file."""
        if self.repeats:
            return self.repeats
        if not self._moves:
            return self.since or replace(position, snapshot=SnapshotPosition("", by="files"))
        return replace(position, snapshot=self._snapshot(self._merged()))

    def outcome(self, position: Position) -> Outcome:
        """Return the same with the state."""
        if self.repeats or not self._moves:
            return Outcome(position)
        merged = self._merged()
        return Outcome(replace(position, snapshot=self._snapshot(merged)), merged.to_bytes())

    @property
    def _moves(self) -> bool:
        return bool(self.chosen or (self.mine and self.since))

    def _merged(self) -> MergedFiles:
        if not self.chosen:
            return self.base
        appends = self.extraction.mode is WriteMode.APPEND
        return self.base.plus(self.chosen, seen=[*self.seen], keep_replaced=appends)

    def _snapshot(self, merged: MergedFiles) -> SnapshotPosition:
        return SnapshotPosition(merged.epoch, by="files", rows=merged.count, loads=merged.loads)

    def notes(self) -> list[str]:
        """Return sentences for the log."""
        found = []
        if self.lost:
            found.append("nobody knows any more which files were merged: reading all of them")
        if not self.seen:
            found.append(f"no file matches path={self.extraction.path!r}")
        elif not self.chosen:
            found.append(f"nothing new in {len(self.seen):,} files")
        if self.replaced:
            found.append(f"{len(self.replaced):,} files were replaced since they were loaded: {_some(self.replaced)}")
        if self.repeats and not self.mine:
            found.append("a full refresh has taken the place of what this run appended: nothing to repeat")
        return found


def _lost(extraction: Extraction) -> DataError:
    return DataError(
        f"{extraction.stream}: the list of the files that were merged (a state file on the stage, below _state/) is "
        "gone or damaged: their rows would be appended twice.",
        hint=f"put it back from a backup of the stage; or {_FULL}",
    )


def _some(uris: list[str]) -> str:
    more = f" and {len(uris) - _SHOWN} more" if len(uris) > _SHOWN else ""
    return ", ".join(uris[:_SHOWN]) + more
