"""What is tried ends in a sentence, whatever happens."""

import pytest

from mskdex.errors import MskdexError
from mskdex.pipeline.attempt import attempt


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MskdexError("a.nii is empty"), "a.nii is empty"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "could not be read: KeyError 'x'; this is a defect, please report it"),
        (RecursionError("too deep\nin many lines"), "RecursionError too deep; this is a defect"),
    ],
)
def test_every_exception_becomes_a_sentence(error, words):
    def read():
        raise error

    told = attempt(read)
    assert words in told
    assert "\n" not in told


def test_what_works_has_nothing_to_say_and_an_interruption_passes():
    def interrupted():
        raise KeyboardInterrupt

    assert attempt(lambda: 1) == ""
    with pytest.raises(KeyboardInterrupt):
        attempt(interrupted)
