"""What libraries log or warn of: shown, redacted, with --debug; otherwise it would tear the progress on the screen."""

import logging

from pmpctl.ui.terminal import Writer


class _Handler(logging.Handler):
    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.line(self.format(record).rstrip(), "faint")


def adopt_library_logs(writer: Writer, debug: bool) -> None:
    """Send all of it to `writer` with `debug`, and nowhere without; a second call changes nothing."""
    if debug:
        form = "%(levelname)s %(name)s: %(message)s"
        logging.basicConfig(level=logging.DEBUG, handlers=[_Handler(writer)], format=form)
    else:
        logging.basicConfig(handlers=[logging.NullHandler()])
    logging.captureWarnings(True)
