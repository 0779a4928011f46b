"""Words that label files use for sides and structures, in the languages that clinics write them in."""

import re
import unicodedata

from mskdex.anatomy import ALIASES

MASK_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr")

_LEFT = (
    "left",
    "links",
    "linke",
    "linker",
    "linkes",
    "gauche",
    "izquierdo",
    "izquierda",
    "esquerdo",
    "esquerda",
    "sinistra",
    "sinistro",
    "sinister",
    "sinistrum",
    "vanster",
    "venstre",
    "lewy",
    "lewa",
    "lewe",
)
_RIGHT = (
    "right",
    "rechts",
    "rechte",
    "rechter",
    "rechtes",
    "droit",
    "droite",
    "derecho",
    "derecha",
    "direito",
    "direita",
    "destra",
    "destro",
    "dexter",
    "dextra",
    "dextrum",
    "hoger",
    "hojre",
    "høyre",
    "højre",
    "prawy",
    "prawa",
    "prawe",
)
SIDES = dict.fromkeys(_LEFT, "left") | dict.fromkeys(_RIGHT, "right")
"""Side words, which count wherever they stand in a name."""

_LEFT_AT_ENDS = ("l", "lt", "li", "lks", "sin", "sx", "izq", "izqda", "esq")
_RIGHT_AT_ENDS = ("r", "rt", "re", "dex", "dext", "dx", "der", "dcha", "dir")
SIDES_AT_ENDS = SIDES | dict.fromkeys(_LEFT_AT_ENDS, "left") | dict.fromkeys(_RIGHT_AT_ENDS, "right")
"""Side words with their abbreviations, which count as the first or last word of a name only."""

_SIDE_SIGNS = {"左側": "left", "右側": "right", "左": "left", "右": "right"}
_BOTH = frozenset({"both", "bilateral", "beide", "beidseits", "pair", "lr", "rl", "and", "und", "et", "y", "e"})

_FILLERS = frozenset(
    {"muscle", "muscles", "musculus", "m", "bone", "os", "mask", "seg", "segmentation", "label", "muskel", "knochen"}
)

_OTHER_LANGUAGES: dict[str, tuple[str, ...]] = {
    "gluteus_maximus": (
        "gluteus maximus muscle",
        "glutaeus maximus",
        "grosser gesassmuskel",
        "grosser gesaessmuskel",
        "grand fessier",
        "gluteo mayor",
        "gluteo maximo",
        "grande gluteo",
        "gluteo massimo",
        "grote bilspier",
        "大殿筋",
        "大臀筋",
        "臀大肌",
        "gmax",
    ),
    "gluteus_medius": (
        "glutaeus medius",
        "mittlerer gesassmuskel",
        "mittlerer gesaessmuskel",
        "moyen fessier",
        "gluteo medio",
        "medio gluteo",
        "middelste bilspier",
        "中殿筋",
        "中臀筋",
        "臀中肌",
        "gmed",
    ),
    "gluteus_minimus": (
        "glutaeus minimus",
        "kleiner gesassmuskel",
        "kleiner gesaessmuskel",
        "petit fessier",
        "gluteo menor",
        "gluteo minimo",
        "piccolo gluteo",
        "kleine bilspier",
        "小殿筋",
        "小臀筋",
        "臀小肌",
        "gmin",
    ),
    "iliacus": ("darmbeinmuskel", "muscle iliaque", "musculo iliaco", "muscolo iliaco", "腸骨筋", "髂肌"),
    "obturator_externus": (
        "obturatorius externus",
        "ausserer huftlochmuskel",
        "ausserer hueftlochmuskel",
        "obturateur externe",
        "obturador externo",
        "otturatore esterno",
        "外閉鎖筋",
        "闭孔外肌",
        "閉孔外肌",
    ),
    "pectineus": ("kammmuskel", "pectine", "pectineo", "pettineo", "恥骨筋", "耻骨肌"),
    "iliopsoas": ("lendendarmbeinmuskel", "psoas iliaque", "psoas iliaco", "ileopsoas", "腸腰筋", "髂腰肌"),
    "pelvis": (
        "huftbein",
        "hueftbein",
        "huftknochen",
        "hueftknochen",
        "beckenknochen",
        "becken",
        "hips",
        "coxa",
        "coxae",
        "coxal",
        "hemipelvis",
        "os coxal",
        "os iliaque",
        "bassin",
        "hueso coxal",
        "hueso iliaco",
        "osso dell anca",
        "bacino",
        "osso do quadril",
        "heupbeen",
        "bekken",
        "骨盤",
        "寛骨",
        "髋骨",
        "髖骨",
    ),
    "sacrum": ("kreuzbein", "sacro", "hueso sacro", "osso sacro", "heiligbeen", "仙骨", "骶骨"),
    "femur": (
        "oberschenkelknochen",
        "femurs",
        "femora",
        "hueso femur",
        "femore",
        "dijbeen",
        "大腿骨",
        "股骨",
    ),
}


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case, without accents: "Fémur_Gauche" gives ["femur", "gauche"].

    Camel case is split; a side written as a sign before, after or in brackets becomes a word of its own.
    """
    spaced = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", unicodedata.normalize("NFC", name))
    for sign in _SIDE_SIGNS:
        spaced = re.sub(rf"^{sign}|{sign}(?=\W*$)", f"_{sign}_", spaced)
    return [w for w in re.split(r"[\W_]+", _plain(spaced)) if w]


def parse_name(name: str) -> tuple[str, str | None]:
    """Structure and side that a name in a label file means.

    "Left Gluteus Maximus muscle", "gluteus_maximus_L", "Hüftbein rechts" and "大腿骨(左)" give
    ("gluteus_maximus", "left"), the same, ("pelvis", "right") and ("femur", "left"). A name with two contradicting
    sides has none.

    Returns:
        The structure's name in the registry's spelling and "left", "right" or None.
    """
    words = words_of(strip_suffix(name))
    sides, rest = _apart(words)
    if len(sides) > 1 or not rest:
        return "_".join(words), None
    return _structure(rest), next(iter(sides), None)


def without_side(name: str) -> str | None:
    """The structure of a name that gives no side, or both ("femur", "femur_both", "femur_left_right"); else None."""
    sides, rest = _apart([w for w in words_of(strip_suffix(name)) if w not in _BOTH])
    return None if len(sides) == 1 or not rest else _structure(rest)


def strip_suffix(name: str) -> str:
    """A mask file's name without its suffix."""
    suffix = next((s for s in MASK_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def same_spelling(one: str, other: str) -> bool:
    """Whether two names are the same text, however accents are encoded (macOS takes letters and accents apart)."""
    return unicodedata.normalize("NFC", one).strip() == unicodedata.normalize("NFC", other).strip()


def _apart(words: list[str]) -> tuple[set[str], list[str]]:
    """The sides among the words of a name, and the other words."""
    sides, rest = set(), []
    for i, word in enumerate(words):
        known = SIDES_AT_ENDS if i in (0, len(words) - 1) else SIDES
        side = (_SIDE_SIGNS.get(word) or known.get(word)) if len(words) > 1 else None
        if side:
            sides.add(side)
        else:
            rest.append(word)
    return sides, rest


def _structure(words: list[str]) -> str:
    joined = "_".join(words)
    bare = "_".join(w for w in words if w not in _FILLERS) or joined
    return _STRUCTURES.get(joined, _STRUCTURES.get(bare, bare))


def _plain(text: str) -> str:
    """Lower case, Latin letters without their accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", apart))


_STRUCTURES = ALIASES | {
    "_".join(_plain(name).split()): structure for structure, names in _OTHER_LANGUAGES.items() for name in names
}
