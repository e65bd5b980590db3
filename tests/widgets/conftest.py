"""The server of the client's tests, for the widgets."""

from tests.client.conftest import client, server

__all__ = ["client", "server"]
