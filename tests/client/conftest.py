"""One server for all tests of the client."""

from collections.abc import Iterator

import pytest

from apsis_nb.client import Client
from tests.client.serving import Served, served


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with server.client() as client:
        yield client
