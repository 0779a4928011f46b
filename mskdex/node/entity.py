"""The node as a DICOM application entity."""

from pynetdicom import AE


def entity(ae_title: str, timeout_s: float) -> AE:
    """An application entity that gives a silent peer up.

    Args:
        ae_title: its own title.
        timeout_s: how long a peer may be silent, at the connection, an association's request or a message.
    """
    found = AE(ae_title=ae_title)
    found.acse_timeout = found.dimse_timeout = found.network_timeout = found.connection_timeout = timeout_s
    return found
