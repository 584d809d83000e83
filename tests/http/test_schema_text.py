"""How the refusal of a body describes what a field accepts."""

from service.http.schema_text import expected_at
from service.jobs.schemas import CreateJob
from service.models.aliases.schemas import CreateAlias


def test_a_pattern_that_is_hard_to_read_is_in_words() -> None:
    words = "1 to 64 lower-case letters, digits, dots and hyphens, with a letter or digit at each end"
    assert expected_at(CreateAlias, "name") == words
    assert expected_at(CreateJob, "deploy.alias") == words


def test_a_union() -> None:
    assert expected_at(CreateJob, "hyperparameters.n_epochs") == "'auto' or a whole number from 1 to 50"
