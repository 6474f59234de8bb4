"""The checks of `--tools`: what agents need of an API."""

from pmpctl.smoke.check import Check
from pmpctl.smoke.tools_calls import CALLS
from pmpctl.smoke.tools_output import OUTPUT
from pmpctl.smoke.tools_rounds import ROUNDS
from pmpctl.smoke.tools_shapes import SHAPES

TOOLS: tuple[Check, ...] = (*CALLS, *ROUNDS, *SHAPES, *OUTPUT)
