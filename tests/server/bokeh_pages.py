"""A dashboards process that is a real Bokeh server with one empty page."""

import argparse
import json
import os
import sys
import threading

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import Server

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--socket", "--prefix", "--api"):
        parser.add_argument(name)
    given = parser.parse_args()
    json.loads(sys.stdin.readline())
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    page = Application(FunctionHandler(lambda document: None))
    server = Server({"/empty": page}, unix_socket=given.socket, prefix=given.prefix)
    server.start()
    server.io_loop.start()
