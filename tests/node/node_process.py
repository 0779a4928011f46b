"""A node as a process of its own, which can be killed: python node_process.py FOLDER SETTINGS-AS-JSON."""

import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import peers

from mskdex.node.service import serve

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    settings = peers.settings(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    serve(settings, peers.result, "model-1")
