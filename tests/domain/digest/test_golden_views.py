"""The whole of each mail, word for word."""

import pytest

from schemas.messages import Cadence
from tests.domain.digest.golden_views import GOLDEN, written


@pytest.mark.parametrize("cadence", list(Cadence))
def test_every_word_of_a_mail_is_the_one_that_was_read(cadence: Cadence) -> None:
    assert written(cadence) == (GOLDEN / f"{cadence}.txt").read_text(encoding="utf-8")
