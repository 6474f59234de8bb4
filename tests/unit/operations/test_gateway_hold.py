"""How long a switch waits for a gateway that does not answer."""

import time

import pytest

from pmp_gateway.control_schema import Reason
from pmpctl.errors import GatewayNotAnswering
from pmpctl.operations import gateway_hold
from pmpctl.operations.gateway_hold import GatewayHold
from pmpctl.workspace import Workspace


def seconds_until_given_up(hold: GatewayHold) -> float:
    began = time.monotonic()
    with pytest.raises(GatewayNotAnswering):
        hold.close(Reason.SWITCH_FAILED)
    return time.monotonic() - began


def test_a_gateway_that_did_not_come_back_is_not_waited_for_by_each_verb_anew(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_hold, "_PATIENCE_SECONDS", 3.0)
    monkeypatch.setattr(gateway_hold, "_LEFT_PATIENCE_SECONDS", 0.0)

    with GatewayHold(workspace, "switch-1") as hold:
        first = seconds_until_given_up(hold)
        second = seconds_until_given_up(hold)

    assert first > 3
    assert second < first / 2
