"""Which structures the label maps of virtual patients name, without making one."""

from pathlib import Path

from mskdex.config.virtual import VirtualSettings


def structure_names(settings: VirtualSettings) -> tuple[str, ...]:
    """Names in labels.json of every virtual patient, with sides.

    Raises:
        MskdexError: the atlas of the settings cannot be read.
    """
    if settings.atlases:
        from mskdex.virtual.atlas import atlas_ids, atlas_structures

        return tuple(atlas_structures(atlas_ids(Path(settings.atlases[0]))))
    from mskdex.virtual.built_in_anatomy import structures

    return structures()
