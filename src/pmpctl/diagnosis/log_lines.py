"""Engine output without its dressing: colours, timestamps, process and logger prefixes."""

import re

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\^\[\[[0-9;]*m")
_PROCESS = re.compile(r"^\((?:APIServer|EngineCore|Worker|VllmWorker|RayWorker)\S*(?: \S+)? pid=\d+\)\s?")
_LOGGER = re.compile(
    r"^(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):?\s+\d\d-\d\d[ T]\d\d:\d\d:\d\d\s+(?:\[[^\]]+\]|\S+:\d+\])\s?"
)


def clean(line: str) -> str:
    """One line of an engine's log as its author wrote it; of a redrawn progress line, the last state."""
    text = _ANSI.sub("", line).rstrip("\r\n").rsplit("\r", 1)[-1]
    text = _PROCESS.sub("", text)
    return _LOGGER.sub("", text).rstrip()


def level(line: str) -> str:
    """The logger's level of a line, or "" when it does not come from the logger."""
    match = _LOGGER.match(_PROCESS.sub("", _ANSI.sub("", line)))
    return match["level"] if match else ""
