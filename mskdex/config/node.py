"""The settings of the DICOM node, node.yaml."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from mskdex.config.base import Settings
from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError

AeTitle = Annotated[str, StringConstraints(pattern=r"^ *[!-\[\]-~][ -\[\]-~]*$", max_length=16)]
"""One to sixteen characters of ASCII without backslash, not all blank (DICOM PS3.5, value representation AE)."""

_MEGABYTE = 1_000_000


class PeerSettings(Settings):
    """A system that may send to the node."""

    ae_title: AeTitle = Field(description="its AE title")
    addresses: tuple[str, ...] = Field(
        min_length=1, description="IP addresses or networks (10.1.2.0/24) that it calls from"
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="where it listens, at its first address, for reports of storage commitment; null: it gets none",
    )

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            ipaddress.ip_network(address)
        return addresses

    @model_validator(mode="after")
    def _one_host_to_report_to(self) -> Self:
        if self.port is not None and ipaddress.ip_network(self.addresses[0]).num_addresses != 1:
            msg = f"{self.addresses[0]} is a network; with a port the first of the addresses is one host's"
            raise ValueError(msg)
        return self

    def calls_from(self, address: str) -> bool:
        """Whether an IP address is one of the peer's."""
        found = ipaddress.ip_address(address)
        mapped = getattr(found, "ipv4_mapped", None) or found
        return any(mapped in ipaddress.ip_network(network) for network in self.addresses)

    @property
    def host(self) -> str:
        """Where storage commitments are reported to."""
        return self.addresses[0].split("/")[0]


class DicomDestination(Settings):
    """A PACS that takes results by C-STORE."""

    ae_title: AeTitle = Field(description="its AE title")
    host: str = Field(min_length=1, description="its name or IP address")
    port: int = Field(104, ge=1, le=65535, description="its port")


class DicomwebDestination(Settings):
    """A PACS that takes results by STOW-RS."""

    dicomweb: str = Field(pattern=r"^https?://", description="its DICOMweb address, e.g. https://pacs/dicom-web")


class NodeSettings(Settings):
    """The DICOM node."""

    model: Path = Field(description="model.safetensors of an experiment's fold")
    queue: Path = Field(description="folder for images and results on their way; made where it is absent")
    peers: tuple[PeerSettings, ...] = Field(min_length=1, description="who may send; everybody else is refused")
    results_to: DicomDestination | DicomwebDestination = Field(
        description="where results go: `ae_title`, `host` and `port` for C-STORE, or `dicomweb` for STOW-RS"
    )
    ae_title: AeTitle = Field("MSKDEX", description="the node's AE title; calls of another are refused")
    address: str = Field("127.0.0.1", description="IP address that the node listens at; 0.0.0.0 is every one")
    port: int = Field(11112, ge=0, le=65535, description="port that it listens at; 0 is any free one")
    calibration: Path | None = Field(
        None, description="predictions.parquet of patients whom the model has not seen; null: no intervals"
    )
    radiograph: RadiographSettings = Field(
        RadiographSettings(), description="how radiographs are imported, as that section of config.yaml"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:i")
    modalities: tuple[Literal["CR", "DX"], ...] = Field(
        ("CR", "DX"), min_length=1, description="what is taken; the classes of all else are refused at the association"
    )
    quiet_s: float = Field(30.0, gt=0, description="a study is complete when nothing of it has come for so long")
    complete_on_release: bool = Field(
        True, description="a study is also complete when the association that brought it is released"
    )
    max_object_megabytes: float = Field(
        200.0, gt=0, description="a larger object is refused with status 0xA700; one four times as large is cut off"
    )
    max_queue_megabytes: float = Field(
        20000.0, gt=0, description="objects are refused with status 0xA700 when the queue would exceed this"
    )
    min_free_megabytes: float = Field(
        1000.0, ge=0, description="objects are refused with status 0xA700 when the disk has less room than this"
    )
    max_associations: int = Field(10, ge=1, description="more at a time are refused")
    timeout_s: float = Field(60.0, gt=0, description="a peer that is silent for so long is disconnected")
    keep_hours: float = Field(
        24.0, ge=0, description="images of finished studies are kept so long, or until the queue needs their room"
    )
    attempts: int = Field(3, ge=1, description="an image that has ended the node so often is given up")
    retry_s: float = Field(
        30.0, gt=0, description="first pause after the destination failed; it doubles up to a quarter of an hour"
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="port of the Prometheus metrics, at 127.0.0.1 alone; null: none; 0: any"
    )

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        ipaddress.ip_address(address)
        return address

    @model_validator(mode="after")
    def _each_peer_once(self) -> Self:
        titles = [peer.ae_title.strip() for peer in self.peers]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            msg = f"{', '.join(twice)} stands twice in peers; give one entry with all its addresses"
            raise ValueError(msg)
        return self

    @property
    def max_object_bytes(self) -> int:
        """The largest object that is taken."""
        return int(self.max_object_megabytes * _MEGABYTE)

    @property
    def max_queue_bytes(self) -> int:
        """What the queue may hold."""
        return int(self.max_queue_megabytes * _MEGABYTE)

    @property
    def min_free_bytes(self) -> int:
        """What stays free on the disk."""
        return int(self.min_free_megabytes * _MEGABYTE)


def read_node_settings(path: Path) -> NodeSettings:
    """Reads node.yaml; its paths are relative to its folder.

    Raises:
        MskdexError: it cannot be read, or a key is unknown, missing or out of range.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        msg = f"node config {path} cannot be read ({str(error).splitlines()[0]}); name it with --config"
        raise MskdexError(msg) from error
    if not isinstance(content, dict):
        msg = f"node config {path} holds no keys; see docs/node.md"
        raise MskdexError(msg)
    try:
        found = NodeSettings.model_validate(content)
    except ValidationError as error:
        detail = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        msg = f"node config {path}: {detail}; docs/node.md explains every key"
        raise MskdexError(msg) from error
    here = path.resolve().parent
    paths = {name: here / value for name in ("model", "queue", "calibration") if (value := getattr(found, name))}
    return found.model_copy(update=paths)
