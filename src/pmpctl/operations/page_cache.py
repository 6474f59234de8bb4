"""Reads the next model's weights into the page cache while the old one serves, which shortens the gap."""

from dataclasses import dataclass

from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Operation
from pmpctl.planning.plan import Plan
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime


@dataclass(frozen=True, slots=True)
class Warmed:
    """`bytes_cached` of `bytes_total` are in the page cache now; `why_not` says why it is not all of them."""

    bytes_cached: int
    bytes_total: int
    seconds: float
    why_not: str = ""


def warm_page_cache(environment: Environment, file: ProfileFile, runtime: Runtime, plan: Plan) -> Operation[Warmed]:
    """Never fails; closing the operation ends the reading at once."""
    raise NotImplementedError
