"""``elt remote``: the configuration of a remote in files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_elt_provider.cli.answer import Answer, lines_of
from airflow_elt_provider.cli.arguments import pair
from airflow_elt_provider.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from airflow_elt_provider.cli.remote_talk import Talk
    from airflow_elt_provider.remotes.config_as_code.plan import Plan
    from airflow_elt_provider.remotes.config_as_code.server import ConfigServer
    from airflow_elt_provider.remotes.config_as_code.work import ConfigWork

EXIT_DIFFERENT: Final = 2
_REFUSED: Final = 1


def add_remote(parser: argparse.ArgumentParser) -> None:
    """Add the commands of ``elt remote``."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add, about in _COMMANDS:
        command = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        command.add_argument(
            "folder", metavar="FOLDER", help="a path, file://, s3://bucket/prefix or gs://bucket/prefix"
        )
        command.add_argument("--conn-id", required=True, help="of the Airbyte, Fivetran or Digdag server")
        command.add_argument("--folder-conn-id", help="for s3:// and gs://; default: what their clients find")
        command.add_argument(
            "--workspace", action="append", default=[], metavar="NAME",
            help="of Airbyte, or a group of Fivetran; may be repeated (default: those that the files name; for export, "
            "all)",
        )  # fmt: skip
        add(command)
        command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schemas", choices=("new", "all", "none"), default="new",
        help="lock files: for sources that have none yet (default), for all, which accepts their schemas as they are "
        "now, or for none",
    )  # fmt: skip
    parser.set_defaults(run=_export)


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--schemas", action="store_true", help="also hold the sources' schemas against the lock files")
    _add_moves(parser)
    parser.set_defaults(run=_diff)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the plan in a file, for apply")
    _add_reach(parser)
    parser.set_defaults(run=_plan)


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", type=Path, metavar="FILE", help="carry this plan out, and no other")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _add_reach(parser)
    parser.add_argument(
        "--reset", action="store_true",
        help="let the data of connections be read anew of which a sync mode, a key or a cursor changed",
    )  # fmt: skip
    _add_credentials(parser)
    parser.set_defaults(run=_apply)


def _add_restore(parser: argparse.ArgumentParser) -> None:
    _add_moves(parser)
    parser.add_argument("--disabled", action="store_true", help="make connections switched off")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _add_credentials(parser)
    parser.set_defaults(run=_restore)


def _add_moves(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--into", type=pair, action="append", default=[], metavar="OLD=NEW",
        help="what the files say of workspace OLD is meant for NEW; may be repeated",
    )  # fmt: skip


def _add_reach(parser: argparse.ArgumentParser) -> None:
    _add_moves(parser)
    parser.add_argument("--allow-delete", action="store_true", help="delete what is only on the server")
    parser.add_argument(
        "--write-secrets", action="store_true", help="write secrets again that files refer to: none can be compared"
    )


def _add_credentials(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agent-credentials", type=Path, metavar="FOLDER",
        help="keep the credentials of new hybrid deployment agents here: Fivetran tells them once",
    )  # fmt: skip


_COMMANDS: Final = (
    ("export", _add_export, "write the server's configuration to a folder"),
    ("diff", _add_diff, "say how the server differs from the files"),
    ("plan", _add_plan, "say what apply would change on the server, changing nothing"),
    ("apply", _add_apply, "change the server so that it is as the files say"),
    ("restore", _add_restore, "make on a server what is only in the files, changing and deleting nothing"),
)


# --- commands ---


def _export(arguments: argparse.Namespace) -> Answer:
    work, _ = _opened(arguments)
    document = work.export(schemas=arguments.schemas).to_json(work.folder.uri)
    counted = {name: len(document[name]) for name in ("written", "removed")}
    objects = ", ".join(f"{count:,} {kind}" for kind, count in document["objects"].items())
    return Answer(document, lines_of({**document, **counted, "objects": objects}))


def _diff(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.remote_words import coloured, diff_text

    work, _ = _opened(arguments)
    result = work.diff(schemas=arguments.schemas)
    place = {"remote": work.server.remote, "server": work.address, "folder": work.folder.uri}
    text = coloured(diff_text(result, f"{work.server.remote} at {work.address}", work.folder.uri), sys.stdout)
    return Answer({**place, **result.to_json()}, text, 0 if result.equal else EXIT_DIFFERENT)


def _plan(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.remote_words import coloured, write_plan

    work, _ = _opened(arguments)
    plan = _made(work, arguments)
    if arguments.out:
        write_plan(plan, arguments.out)
    problem = _impossible() if plan.problems else None
    return Answer(plan.to_json(), coloured(plan.text(), sys.stdout), EXIT_DIFFERENT if plan.changes else 0, problem)


def _apply(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.remote_words import read_plan

    if arguments.plan is None:
        _refuse_silence(arguments, "--yes or --plan")
        work, talk = _opened(arguments)
        made = _made(work, arguments)
        if arguments.yes:
            made.refuse_new_workspaces()
        return _carried_out(made, work, talk, arguments)
    if arguments.write_secrets:
        raise ConfigurationError(
            "--write-secrets makes another plan than --plan has.", hint="give it to elt remote plan"
        )
    plan = read_plan(arguments.plan)
    if not arguments.allow_delete:
        plan.refuse_deletes("give --allow-delete here too")
    work, talk = _opened(arguments)
    return _carried_out(plan, work, talk, arguments)


def _restore(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions

    _refuse_silence(arguments, "--yes")
    work, talk = _opened(arguments)
    return _carried_out(work.plan(PlanOptions(only_create=True)), work, talk, arguments)


def _made(work: ConfigWork, arguments: argparse.Namespace) -> Plan:
    from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions

    return work.plan(PlanOptions(allow_delete=arguments.allow_delete, write_secrets=arguments.write_secrets))


def _carried_out(plan: Plan, work: ConfigWork, talk: Talk, arguments: argparse.Namespace) -> Answer:
    """Carry a plan out, after a question where nobody agreed before."""
    from airflow_elt_provider.cli.remote_secrets import from_environment, refuse_missing
    from airflow_elt_provider.cli.remote_words import agreed, applied_json, applied_text, coloured, show
    from airflow_elt_provider.remotes.config_as_code.apply import Applied, ApplyOptions

    by_file = getattr(arguments, "plan", None) is not None
    asked = not (by_file or arguments.yes or plan.empty or plan.problems)
    if asked or not (by_file or plan.empty or arguments.quiet):
        show(plan.text())
        if plan.problems and not arguments.json:
            raise _impossible()
    refuse_missing(plan)
    if asked and not agreed(f"Change {plan.server} so?", talk.stop_here):
        return Answer(applied_json(plan, Applied(), work.folder.uri), "Nothing was changed.", _REFUSED)
    options = ApplyOptions(reset=getattr(arguments, "reset", False), tell=talk.tell_change)
    applied = work.apply(plan, from_environment, options)
    problem = None
    if applied.not_taken:
        problem = DataError(
            f"The server did not take over {len(applied.not_taken)} values: {'; '.join(applied.not_taken)[:1000]}.",
            hint="correct them in the files, or see in the server's own pages why",
        )
    text = coloured(applied_text(plan, applied), sys.stdout)
    return Answer(applied_json(plan, applied, work.folder.uri), text, problem=problem)


def _impossible() -> ConfigurationError:
    """Return the error for a plan whose problems were shown, each with its remedy."""
    return ConfigurationError("The plan cannot be carried out.", hint="see what is marked with ! in it")


def _refuse_silence(arguments: argparse.Namespace, needed: str) -> None:
    from airflow_elt_provider.cli.remote_words import can_ask

    if not arguments.yes and not can_ask():
        raise ConfigurationError("Nobody is there to agree: this is no terminal.", hint=f"give {needed}")


def _opened(arguments: argparse.Namespace) -> tuple[ConfigWork, Talk]:
    from airflow_elt_provider.cli.remote_talk import Talk, WatchedFolder
    from airflow_elt_provider.cli.remotes import opened
    from airflow_elt_provider.cli.systems import connection, folder, let_be_cancelled
    from airflow_elt_provider.remotes.config_as_code.opening import config_server, driver
    from airflow_elt_provider.remotes.config_as_code.work import ConfigWork

    place = folder(arguments.folder, arguments.folder_conn_id)
    settings, remote = opened(connection(arguments.conn_id))
    server = config_server(remote)
    if credentials := getattr(arguments, "agent_credentials", None):
        _keep_credentials(server, credentials)
    talk = Talk(driver(settings), remote.name)
    let_be_cancelled(talk)
    watched = WatchedFolder(place, talk)
    work = ConfigWork(server, talk, settings.base_url, watched, arguments.workspace or None, talk.tell)
    _move(work, dict(getattr(arguments, "into", ())), disabled=getattr(arguments, "disabled", False))
    return work, talk


def _move(work: ConfigWork, moves: dict[str, str], *, disabled: bool) -> None:
    from airflow_elt_provider.remotes.config_as_code.work import restored

    if not moves and not disabled:
        return
    there = {key.workspace for key in work.files().objects if key.workspace}
    if unknown := sorted(moves.keys() - there):
        raise ConfigurationError(
            f"--into {unknown[0]}={moves[unknown[0]]}: no file is of workspace {unknown[0]!r}.",
            hint=f"one of {', '.join(sorted(there)) or 'none: the files name no workspace'}",
        )
    restored(work, moves, disabled=disabled)


def _keep_credentials(server: ConfigServer, folder: Path) -> None:
    from airflow_elt_provider.remotes.config_as_code.fivetran.configuration import FivetranConfiguration
    from airflow_elt_provider.remotes.config_as_code.fivetran.credentials import CredentialsFolder

    if not isinstance(server, FivetranConfiguration):
        raise ConfigurationError(f"--agent-credentials is for Fivetran, not for {server.remote}.", hint="leave it out")
    server.account.credentials = CredentialsFolder(folder)
