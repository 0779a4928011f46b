"""node.yaml, its documentation, and the whole node with a model."""

from pathlib import Path

import peers
import pytest
import tiny
import yaml

from mskdex.config.documentation import node_table
from mskdex.config.node import read_node_settings
from mskdex.errors import MskdexError
from mskdex.node.predicting import predictor

GOOD = {
    "model": "model.safetensors",
    "queue": "queue",
    "peers": [{"ae_title": "A", "addresses": ["127.0.0.1"]}],
    "results_to": {"ae_title": "PACS", "host": "pacs", "port": 104},
}


def write(folder, **changes) -> Path:
    path = folder / "node.yaml"
    content = {k: v for k, v in (GOOD | changes).items() if v is not None}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path):
    found = read_node_settings(write(tmp_path, calibration="predictions.parquet"))
    assert (found.model, found.queue, found.calibration) == tuple(
        tmp_path / name for name in ("model.safetensors", "queue", "predictions.parquet")
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peers": []}, "peers"),
        ({"peers": None}, "peers: Field required"),
        ({"peers": [{"ae_title": "A", "addresses": ["pacs"]}]}, "'pacs' does not appear to be an IPv4 or IPv6 network"),
        ({"peers": [{"ae_title": "A", "addresses": ["10.1.2.3/24"]}]}, "has host bits set"),
        ({"peers": [{"ae_title": "A", "addresses": ["10.1.2.0/24"], "port": 1}]}, "10.1.2.0/24 is a network"),
        ({"peers": GOOD["peers"] * 2}, "A stands twice in peers"),
        ({"ae_title": "SEVENTEEN LETTERS"}, "ae_title"),
        ({"ae_title": "   "}, "ae_title"),
        ({"address": "localhost"}, "address"),
        ({"modalities": ["CT"]}, "modalities"),
        ({"results_to": {"dicomweb": "pacs"}}, "results_to"),
        ({"password": "x"}, "password: Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(tmp_path, changes, message):
    with pytest.raises(MskdexError) as found:
        read_node_settings(write(tmp_path, **changes))
    assert message in str(found.value)


@pytest.mark.parametrize("text", ["- a\n", "", "{"])
def test_a_file_that_is_no_config_is_told(tmp_path, text):
    (tmp_path / "node.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(MskdexError, match=r"node\.yaml"):
        read_node_settings(tmp_path / "node.yaml")


def test_the_documentation_has_every_key():
    text = (Path(__file__).parents[2] / "docs" / "node.md").read_text(encoding="utf-8")
    assert node_table() in text, "put the output of `mskdex config node` into docs/node.md"


def test_a_node_with_a_model_sends_objects_of_the_images_study_that_keep_their_uids(tmp_path, start, pacs):
    tiny.write(tmp_path / "model.safetensors")
    predict, digest = predictor(read_node_settings(write(tmp_path, device="cpu")))
    assert len(digest) == 64
    node, image = start(predict, digest), peers.radiograph()
    peers.send(node.port, [image])
    peers.eventually(lambda: node.queue.counts()["done"] == 1, 60)
    assert {d.StudyInstanceUID for d in pacs.got} == {image.StudyInstanceUID}
    assert {d.PatientID for d in pacs.got} == {image.PatientID}
    again = predict(node.queue.held(image.SOPInstanceUID, ["done"]))
    assert sorted(o.SOPInstanceUID for o in again) == sorted(d.SOPInstanceUID for d in pacs.got)
    assert len({o.SOPClassUID for o in again}) == len(again) == 4
