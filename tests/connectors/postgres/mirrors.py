"""A source table and its target, kept equal by fingerprint capture."""

from __future__ import annotations

import json

from tests.contract.world import World

MERGE = {"mode": "merge", "deletes": "hard", "capture": "fingerprint"}
KEYS = {
    "int": ("id int PRIMARY KEY", "g - 300"),
    "bigint": ("id bigint PRIMARY KEY", "(g - 300) * 10::bigint^15"),
    "smallint": ("id smallint PRIMARY KEY", "g * 60 - 32768"),
    "uuid": ("id uuid PRIMARY KEY", "md5(g::text)::uuid"),
    "text": ("id text PRIMARY KEY", "chr(100 + g) || g"),
    "varchar": ("id varchar(20) PRIMARY KEY", "'k ' || g"),
    "date": ("id date PRIMARY KEY", "date '2000-01-01' + g"),
    "numeric": ("id numeric PRIMARY KEY", "g / 3.0"),
    "char": ("id char(8) PRIMARY KEY", "g::text"),
    "bytea": ("id bytea PRIMARY KEY", "decode(md5(g::text), 'hex')"),
}


class Mirror:
    """A source table, and its target after each sync."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sql = world.run_at_source

    def sync(self, **parameters):
        return self.world.sync(**{**MERGE, **parameters})

    def check(self, columns: str = "*", where: str = "true", **parameters):
        """Sync and compare."""
        result = self.sync(**parameters)
        self.same(columns, where)
        return result

    def same(self, columns: str = "*", where: str = "true") -> None:
        names = columns
        if columns == "*":
            found = self.sql(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                self.world.table,
            )
            names = ", ".join(row[0] for row in found)
        assert self.world.target_rows(names) == self.world.source_rows(names, where)

    # --- what the checkpoint says ---

    def rewrite_position(self, **changes) -> None:
        """Change source or snapshot of the checkpoint's position."""
        self.world.edit_position(lambda position: edited(position, changes))

    def rewrite_epoch(self, part: str) -> None:
        def other(epoch: str) -> str:
            known = json.loads(epoch)
            step = -1 if part == "server" else 1
            known[part] = known[part] + (step if isinstance(known[part], int) else "1")
            return json.dumps(known)

        self.rewrite_position(epoch=other)


def edited(position: dict, changes: dict) -> dict:
    for name, change in changes.items():
        place = position if name in position else position["snapshot"]
        place[name] = change(place[name])
    return position


class Elsewhere:
    """The same server, for another role."""

    def __init__(self, server, user: str) -> None:
        self._server = server
        self.user, self.password = user, "pw"

    def __getattr__(self, name: str):
        return getattr(self._server, name)

    def connect(self, dbname: str):
        return self._server.connect(dbname)


class Place(World):
    """A world whose checkpoints can be tampered with."""

    def edit_position(self, edit) -> None:
        destination = self.job(**MERGE).destination
        stream = f"{self.table}->{self.target}"
        position = edit(destination.checkpoint(stream).position.to_json())
        table = self.destination.name("_elt.checkpoints")
        text = json.dumps(position).replace("'", "''")
        self.destination.run(f"UPDATE {table} SET position = '{text}' WHERE stream = '{stream}'")
