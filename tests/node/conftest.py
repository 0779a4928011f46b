"""A node and a PACS in this process, for each test."""

import peers
import pytest

from mskdex.node.service import Node


@pytest.fixture
def pacs():
    found = peers.Archive()
    yield found
    found.close()


@pytest.fixture
def start(tmp_path, pacs):
    """Starts a node; what is not given is of `peers`. All are stopped at the end."""
    running = []

    def begin(predict=peers.result, digest="model-1", **changes):
        node = Node(peers.settings(tmp_path, pacs.port, **changes), predict, digest)
        running.append(node)
        return node

    yield begin
    for node in running:
        node.stop()
    assert peers.nothing_left_running()
