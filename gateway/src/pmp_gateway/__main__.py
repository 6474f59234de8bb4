"""`python -m pmp_gateway`: read the settings, serve, and say clearly why not."""

import logging
import os
import sys

import uvloop

from pmp_gateway.server import ListenFailed, serve
from pmp_gateway.settings import Settings, SettingsInvalid
from pmp_gateway.token_file import TokenFileInvalid
from pmp_gateway.unix_socket import SocketUnusable


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        uvloop.run(serve(Settings.from_env(os.environ)))
    except (SettingsInvalid, TokenFileInvalid) as error:
        sys.stderr.write(f"pmp-gateway: {error}\n")
        return os.EX_CONFIG
    except (ListenFailed, SocketUnusable) as error:
        sys.stderr.write(f"pmp-gateway: {error}\n")
        return os.EX_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
