"""How a change of the token file gets into force: one at a time, readable for the gateway, and taken over at once."""

import contextlib
from collections.abc import Iterator
from typing import Literal

from filelock import FileLock, Timeout

from pmpctl.errors import TokenFileInvalid, WorkspaceLocked, WorkspaceNotWritable
from pmpctl.host.files import hand_over, make_folder
from pmpctl.host.tokens import TokenFile, require_readable_by, write_tokens
from pmpctl.operations.environment import owner_of, prepare_state_folder
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.gateway_control import reload_tokens
from pmpctl.planning.gateway_unit import user_in_container
from pmpctl.workspace import Workspace

_LOCK_TIMEOUT_SECONDS = 10

Told = Literal["reloaded", "refused", "no-answer"]
"""How the running gateway took the change: at once, not at all, or there is none."""


@contextlib.contextmanager
def tokens_locked(workspace: Workspace) -> Iterator[None]:
    """Not the workspace's lock: a token can be revoked while a model starts."""
    prepare_state_folder(workspace)
    lock = FileLock(workspace.tokens_lock_file, timeout=_LOCK_TIMEOUT_SECONDS, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise WorkspaceLocked(
            f"another pmpctl has been changing the tokens of {workspace.root} for {_LOCK_TIMEOUT_SECONDS} s",
            cure="Wait until it is done, or end it, and try again.",
        ) from error
    except OSError as error:
        raise WorkspaceNotWritable(
            f"{workspace.tokens_lock_file} cannot be written: {error.strerror}",
            cure="Run this as the owner of the workspace.",
        ) from error
    try:
        uid, gid = owner_of(workspace)
        hand_over(workspace.tokens_lock_file, uid=uid, gid=gid)
        yield
    finally:
        lock.release()


def put_in_force(workspace: Workspace, tokens: TokenFile) -> Operation[Told]:
    uid, gid = owner_of(workspace)
    reader_uid, reader_gid = user_in_container(uid, gid)
    make_folder(tokens.path.parent, uid=uid, gid=gid)
    write_tokens(tokens, uid=reader_uid, gid=reader_gid)
    answer = reload_tokens(workspace)
    if answer is None:
        yield Notice(
            "info",
            "no gateway answered: it reads the file when it starts, or within a second if it runs out of reach",
        )
        try:
            require_readable_by(tokens.path, reader_uid, reader_gid)
        except TokenFileInvalid as error:
            yield Notice("warning", f"in a container {error.message}; {error.cure}")
        return "no-answer"
    if not answer.ok:
        yield Notice("warning", f"the running gateway keeps its old tokens: {answer.message}")
        return "refused"
    if answer.auth.tokens != len(tokens.entries):
        yield Notice(
            "warning", "the running gateway reads another token file: `pmpctl up` starts it anew with the one of now"
        )
        return "refused"
    return "reloaded"
