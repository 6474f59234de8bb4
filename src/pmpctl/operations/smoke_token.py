"""`smoke` of a gateway that wants a token, where none was given: with one that is there for that run only."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pmpctl.errors import PmpctlError, UsageError
from pmpctl.operations.api_target import KnownApi
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Operation
from pmpctl.operations.smoke import SmokeReport, Wanted, smoke
from pmpctl.operations.tokens import NewToken, add_token, revoke_tokens

# Of the checks that are no soak, with long prompts on a slow card.
_LIFE = timedelta(hours=2)


def smoke_with_passing_token(
    environment: Environment, known: KnownApi, wanted: Wanted, keep_secret: Callable[[str], None]
) -> Operation[SmokeReport]:
    """`keep_secret` is told the token before it is used. The token is revoked however this ends; killed, it expires."""
    name = f"smoke-{secrets.token_hex(4)}"
    life = _LIFE + timedelta(minutes=wanted.soak_minutes or 0)
    expires = (datetime.now(UTC) + life).replace(microsecond=0)
    # A limit of 0 is none: the checks are about the API, not about what one client may do.
    new = NewToken(name, expires, requests_per_minute=0, max_concurrent=0)
    try:
        added = yield from add_token(environment, new)
        if added.secret is None or added.gateway != "reloaded":
            raise UsageError(
                "the gateway wants a token, and does not take over one that is made for this run",
                cure="Give one with --token-file or PMPCTL_TOKEN; `pmpctl token add NAME` makes one.",
            )
        keep_secret(added.secret)
        return (yield from smoke(replace(known, target=replace(known.target, token=added.secret)), wanted))
    finally:
        # Where it was not added, there is none; where it cannot be revoked, as it is the last one by now, it expires.
        with contextlib.suppress(PmpctlError):
            # Nobody listens to an operation that is being closed.
            for _ in revoke_tokens(environment, [name], allow_open=False):
                pass
