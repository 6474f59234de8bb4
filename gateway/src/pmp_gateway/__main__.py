"""`python -m pmp_gateway`: read the settings, serve, and say clearly why not."""

import gc
import logging
import os
import resource
import sys

import uvloop

from pmp_gateway.server import ListenFailed, serve
from pmp_gateway.settings import Settings, SettingsInvalid
from pmp_gateway.token_file import TokenFileInvalid
from pmp_gateway.unix_socket import SocketUnusable

_COLLECTED_AFTER_OBJECTS = 50_000


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _spare_the_collector()
    _take_all_descriptors()
    try:
        uvloop.run(serve(Settings.from_env(os.environ)))
    except (SettingsInvalid, TokenFileInvalid) as error:
        sys.stderr.write(f"pmp-gateway: {error}\n")
        return os.EX_CONFIG
    except (ListenFailed, SocketUnusable) as error:
        sys.stderr.write(f"pmp-gateway: {error}\n")
        return os.EX_UNAVAILABLE
    return 0


def _spare_the_collector() -> None:
    """Requests leave no cycles behind, so looking for them among all that was imported is time lost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER_OBJECTS, 20, 50)


def _take_all_descriptors() -> None:
    """The soft limit is 1024 in many places, and each request may need two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
