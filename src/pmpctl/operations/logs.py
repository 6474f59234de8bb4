"""`logs`: what engine and gateway wrote, in order of time, each line with the stream it came from."""

import heapq
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pmpctl.errors import NothingRuns, PmpctlError
from pmpctl.operations.environment import Environment, choose_runtime
from pmpctl.planning.plan import Role
from pmpctl.runtime.base import LogLine, LogQuery, Runtime, UnitState


@dataclass(frozen=True, slots=True)
class RoleLine:
    role: Role
    line: LogLine


def logs(environment: Environment, roles: Sequence[Role], query: LogQuery) -> Iterator[RoleLine]:
    """The history of the roles' units, also of those that failed; with `follow` what comes after it.

    Raises NothingRuns when none of the roles has a unit.
    """
    runtime = choose_runtime(environment, environment.profile_file()).runtime
    states = [state for state in runtime.units() if state.role in roles]
    if not states:
        raise NothingRuns(
            f"there is no {' or '.join(roles)} in {environment.workspace.root}, so there are no logs",
            cure="Start one with `pmpctl up PROFILE`, or point --workspace to where it runs.",
        )
    streams = [_lines(runtime, state, query) for state in states]
    if len(streams) == 1:
        return streams[0]
    if query.follow:
        return _interleave(streams)
    merged = heapq.merge(*streams, key=lambda entry: entry.line.timestamp)
    return iter(list(merged)[-query.tail :]) if query.tail else merged


def _lines(runtime: Runtime, state: UnitState, query: LogQuery) -> Iterator[RoleLine]:
    for line in runtime.logs(state, query):
        yield RoleLine(state.role, line)


def _interleave(streams: Sequence[Iterator[RoleLine]]) -> Iterator[RoleLine]:
    """Lines as they come from several followed logs; ends when all have ended, raises what any of them raised."""
    lines: queue.Queue[RoleLine | PmpctlError | None] = queue.Queue()

    def pump(stream: Iterator[RoleLine]) -> None:
        try:
            for entry in stream:
                lines.put(entry)
        except PmpctlError as error:
            lines.put(error)
        finally:
            lines.put(None)

    for stream in streams:
        threading.Thread(target=pump, args=(stream,), daemon=True).start()
    running = len(streams)
    while running:
        entry = lines.get()
        if entry is None:
            running -= 1
        elif isinstance(entry, PmpctlError):
            raise entry
        else:
            yield entry
