"""What people see of the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmpctl.operations.tokens import TokenAdded, TokenList, TokenReport, TokensRevoked
    from pmpctl.ui.terminal import Writer


def token_list_view(writer: Writer, found: TokenList) -> None:
    if not found.tokens:
        writer.line(f"No tokens: whoever reaches {found.listen} may use the API. `pmpctl token add NAME` makes one.")
        return
    columns = ("NAME", "FINGERPRINT", "CREATED", "EXPIRES", "LIMITS")
    writer.table(columns, [_row(token) for token in found.tokens])
    if any(token.plain for token in found.tokens):
        writer.line(f"Plain ones can be read in {found.path}: make new ones, and revoke these.")


def token_added_view(writer: Writer, result: TokenAdded) -> None:
    token = result.added
    ends = f"until {_moment(token.expires)}" if token.expires else "without an end"
    limits = _limits(token)
    said = f"{ends}, {limits}" if limits else ends
    if result.gateway is None:
        writer.line(f"Would add {token.name} to {result.path}: {said}.")
        return
    writer.line(f"Added {token.name} to {result.path}: {said}.")
    if result.secret is not None:
        writer.line("")
        # What everything else that is printed passes through would rightly mask it.
        writer.raw(f"  {result.secret}")
        writer.line("")
        writer.line("It is shown this once, and only its hash is kept. Send it as `Authorization: Bearer $TOKEN`.")


def tokens_revoked_view(writer: Writer, result: TokensRevoked) -> None:
    names = ", ".join(token.name for token in result.revoked)
    done = "Would revoke" if result.gateway is None else "Revoked"
    writer.line(f"{done} {names}; {result.left} left in {result.path}. Requests that run are not cut off.")


def _row(token: TokenReport) -> tuple[str, ...]:
    ends = _moment(token.expires) if token.expires else "-"
    return (
        f"{token.name} (plain)" if token.plain else token.name,
        token.fingerprint,
        _moment(token.created) if token.created else "-",
        f"{ends} (expired)" if token.expired else ends,
        _limits(token) or "default",
    )


def _moment(text: str) -> str:
    return f"{text[:10]} {text[11:16]} UTC"


def _limits(token: TokenReport) -> str:
    """Empty where the gateway's defaults count."""
    parts = []
    if token.requests_per_minute is not None:
        parts.append(f"{token.requests_per_minute or 'any number of'} requests a minute")
    if token.max_concurrent is not None:
        parts.append(f"{token.max_concurrent or 'any number'} at a time")
    return ", ".join(parts)
