"""API keys: their form, their checksum, and what is kept of them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.identity.keys import ALPHABET, PREFIXES, fingerprint, new_key, redacted, well_formed
from service.states import KeyKind


class TestNew:
    @pytest.mark.parametrize("kind", PREFIXES)
    def test_is_well_formed_and_never_the_same(self, kind: KeyKind) -> None:
        keys = {new_key(kind) for _ in range(200)}
        assert len(keys) == 200
        for key in keys:
            assert well_formed(key)
            assert key.startswith(PREFIXES[kind])
            assert key.isascii()

    def test_shows_too_little_to_be_guessed(self) -> None:
        key = new_key("project")
        assert len(set(key) - set(redacted(key))) > 0
        assert len(redacted(key)) < len(key) / 2

    def test_is_stored_as_its_hash(self) -> None:
        key = new_key("project")
        assert len(fingerprint(key)) == 32
        assert fingerprint(key) != fingerprint(new_key("project"))


class TestChecksum:
    @given(st.data())
    def test_finds_every_single_wrong_character(self, data: st.DataObject) -> None:
        key = new_key(data.draw(st.sampled_from(sorted(PREFIXES))))
        place = data.draw(st.integers(0, len(key) - 1))
        wrong = data.draw(st.sampled_from([char for char in string.printable if char != key[place]]))
        assert not well_formed(key[:place] + wrong + key[place + 1 :])

    @given(st.data())
    def test_finds_neighbours_that_changed_places(self, data: st.DataObject) -> None:
        key = new_key("project")
        place = data.draw(st.integers(8, len(key) - 2))
        swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
        assert well_formed(swapped) == (swapped == key)

    @given(st.text() | st.text(alphabet=ALPHABET).map(lambda tail: "tg_live_" + tail))
    def test_refuses_what_is_no_key(self, text: str) -> None:
        assert not well_formed(text)

    @given(st.text(min_size=36, max_size=36))
    def test_takes_any_characters_without_a_crash(self, tail: str) -> None:
        well_formed("tg_live_" + tail)
