"""What people see at the end of a switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmpctl.ui.smoke_views import problems_of_checks, smoke_row
from pmpctl.ui.text import human_seconds

if TYPE_CHECKING:
    from pmpctl.operations.switch_result import PlannedSwitch, SwitchResult
    from pmpctl.ui.terminal import Writer


def switch_view(writer: Writer, result: SwitchResult) -> None:
    if result.change == "kept":
        writer.line(f"{result.profile} serves already; --restart starts it anew.")
        return
    if result.gap_seconds is None:
        writer.line(f"{result.profile} is up after {human_seconds(result.seconds)}.")
    else:
        writer.line(f"{result.profile} serves after {human_seconds(result.seconds)}, {_before(result)}.")
    writer.line("")
    if result.gap_seconds is not None:
        writer.line(f"  gap       {human_seconds(result.gap_seconds)}, in which requests waited")
        writer.line(f"  waited    {_waited(result)}")
        writer.line(f"  under way {result.finished} finished, {result.cancelled} cut off")
    writer.line(f"  base URL  {result.base_url}/v1")
    writer.line(f"  models    {', '.join(result.served_names)}")
    if result.max_model_len is not None:
        writer.line(f"  context   {result.max_model_len} tokens")
    if result.smoke is not None:
        writer.line(f"  smoke     {smoke_row(result.smoke)}")
        problems_of_checks(writer, result.smoke)


def planned_switch_view(writer: Writer, planned: PlannedSwitch) -> None:
    if planned.change == "kept":
        writer.line(f"{planned.plan.profile} serves already; --restart starts it anew.")
        return
    writer.line(f"from {planned.previous or 'nothing'} to {planned.plan.profile} on {planned.plan.runtime}")
    if planned.checks is not None:
        writer.line(f"  fit       {planned.checks.fit}")
        writer.line(f"  weights   {planned.checks.weights}")
        writer.line(f"  arguments {planned.checks.arguments}")
    for number, step in enumerate(planned.steps, 1):
        writer.line(f"  {number}. {step}")


def _before(result: SwitchResult) -> str:
    return f"in the place of {result.previous}" if result.previous != result.profile else "started anew"


def _waited(result: SwitchResult) -> str:
    if not result.held:
        return "no request"
    others = f", {result.refused} refused" if result.refused else ""
    return f"{result.held} requests, {result.released} went to {result.profile}{others}"
