"""The models file: open models in it, folders of models, and what is refused, with its line."""

import datetime as dt
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from service.catalogue.models_file import load
from service.errors import SettingsError
from tests.catalogue.open_models import CONTEXT, ENTRY, write_models_file, write_open_model

ROOT = Path(__file__).parents[2]
PRICE = '[{ from = 2026-01-01, micros = 1, source = "own" }]'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the open model `tiny`."""
    write_open_model(tmp_path / "tiny")
    return tmp_path


def refusal(path: Path, **options: Any) -> str:
    """The message with which a models file is refused."""
    with pytest.raises(SettingsError) as refused:
        load(str(path), **options)
    return str(refused.value)


class TestAnOpenModel:
    def test_has_its_own_tokenizer_and_what_the_entry_says(self, folder: Path) -> None:
        extras = f'license = "apache-2.0"\nlearning_rate = 2e-4\ntraining_gpu_second = {PRICE}\n'
        model = load(str(write_models_file(folder / "models.toml", ENTRY + extras)), with_tokenizers=True).default
        assert model.is_open
        assert model.encoding.startswith("tiny:")
        assert model.tokenizer == str(folder / "tiny")
        assert (model.license, model.learning_rate, model.providers) == ("apache-2.0", 2e-4, ("self-hosted",))
        assert model.training_gpu_second[0].micros == 1
        assert not model.tools

    @pytest.mark.parametrize(
        ("rate", "rates"),
        [("2e-4", (2e-4, None)), ("{ full = 1e-5 }", (None, 1e-5)), ("{ lora = 2e-4, full = 1e-5 }", (2e-4, 1e-5))],
    )
    def test_a_learning_rate_is_of_lora_or_a_table(
        self, folder: Path, rate: str, rates: tuple[float | None, float | None]
    ) -> None:
        file = write_models_file(folder / "models.toml", f"{ENTRY}learning_rate = {rate}\n")
        found = load(str(file)).default.learning_rates
        assert (found.lora, found.full) == rates

    def test_another_template_gives_another_encoding_so_that_no_stored_report_is_used(self, folder: Path) -> None:
        file = write_models_file(folder / "models.toml", ENTRY)
        before = load(str(file)).default
        template = folder / "tiny" / "chat_template.jinja"
        template.write_text(template.read_text() + "{# tools #}")
        after = load(str(file)).default
        assert after.encoding != before.encoding
        assert after.tokenizer_sha256 == before.tokenizer_sha256

    def test_is_trained_only_where_its_providers_are(self, folder: Path) -> None:
        model = load(str(write_models_file(folder / "models.toml", ENTRY))).default
        assert model.trainable("self-hosted", dt.date(2027, 6, 1))
        assert not model.trainable("openai", dt.date(2026, 1, 1))


class TestAFolderOfModels:
    def test_describes_each_model_by_its_own_files(self, folder: Path) -> None:
        write_open_model(folder / "second", context=2048, license=None)
        (folder / "notes").mkdir()
        catalogue = load(str(folder), with_tokenizers=True)
        assert catalogue.names() == ["second", "tiny"]
        assert [model.max_tokens for model in catalogue.models] == [2048, CONTEXT]
        assert [model.license for model in catalogue.models] == [None, "apache-2.0"]
        assert catalogue.default.name == "second"
        assert catalogue.default.training_micros(dt.date(2026, 1, 1)) == 0

    def test_its_models_toml_overrides_field_by_field(self, folder: Path) -> None:
        write_open_model(folder / "second")
        entry = f'name = "tiny"\naliases = ["small"]\nlearning_rate = 1e-3\ntraining_hour = {PRICE}'
        catalogue = load(str(write_models_file(folder / "models.toml", entry).parent))
        assert catalogue.default.aliases == ("small",)
        assert catalogue.default.max_tokens == CONTEXT
        assert catalogue.default.training == ()
        assert catalogue.names() == ["second", "tiny", "small"]

    def test_a_file_elsewhere_may_name_it_with_the_conversions(self, folder: Path, tmp_path: Path) -> None:
        (folder / "packed").mkdir()
        (folder / "packed" / "weights.gguf").write_bytes(b"GGUF")
        assert "Start the trainer first" in refusal(folder)
        data = tmp_path / "data"
        write_open_model(data / "converted" / "packed-0123456789ab")
        (data / "models.toml").write_text('folder = ".."\nconverted = "converted"\ndefault_model = "packed"\n')
        model = load(str(data / "models.toml")).default
        assert model.tokenizer == str((data / "converted" / "packed-0123456789ab").absolute())

    def test_the_folder_s_own_file_counts_then_too_without_a_default_model(self, folder: Path, tmp_path: Path) -> None:
        (folder / "models.toml").write_text('[[models]]\nname = "tiny"\nlearning_rate = 1e-3\n')
        elsewhere = tmp_path / "elsewhere.toml"
        elsewhere.write_text(f'folder = "{folder}"\n')
        assert load(str(elsewhere)).default.learning_rate == 1e-3

    def test_an_empty_one_is_refused(self, tmp_path: Path) -> None:
        assert "has no model" in refusal(tmp_path)


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "line", "words"),
        [
            (("tokenizer", 'tokenizer = "absent"'), 5, "absent, which does not exist. Name a folder"),
            (("tokenizer", 'tokenizer = "tiny"\nencoding = "o200k_base"'), 5, "both `encoding` and `tokenizer`"),
            (("tokenizer", ""), 3, "neither `encoding` nor `tokenizer`"),
            (("tokenizer", 'encoding = "o300k_base"'), 5, "Known: o200k_base, cl100k_base"),
            (("max_tokens", "max_tokens = 512\nmax_token = 3"), 7, "the field `max_token` is unknown. Known: name"),
            (("max_tokens", ""), 3, "the field `max_tokens` is missing"),
            (("max_tokens", 'max_tokens = "512"'), 6, "expected `int`, got `str`"),
            (("max_tokens", "max_tokens = 0"), 6, "at least 1"),
            (("methods", 'methods = ["sft"]'), 7, "sft"),
            (("methods", f"methods = []\ntraining = {PRICE}\ntraining_hour = {PRICE}"), 9, "more than one price"),
            (("methods", 'methods = []\ntraining_gpu_second = [{ micros = 1 }]'), 8, "missing required field `from`"),
            (("methods", f"methods = []\ntraining = {PRICE.replace('1, s', '-1, s')}"), 8, ">= 0"),
            (("methods", "methods = []\nlearning_rate = 2.0"), 8, "between 0 and 1"),
            (("methods", "methods = []\nlearning_rate = { lora = 1e-4, full = 2.0 }"), 8, "between 0 and 1"),
            (("methods", "methods = []\nlearning_rate = { all = 1e-4 }"), 8, "unknown field `all`"),
            (("name", 'name = "tiny"\naliases = ["a", "a"]'), 5, "the name 'a' belongs to 'tiny' too"),
        ],
    )  # fmt: skip
    def test_a_wrong_entry_with_its_line(self, folder: Path, change: tuple[str, str], line: int, words: str) -> None:
        key, written = change
        entry = "\n".join(written if each.startswith(key + " ") else each for each in ENTRY.strip().splitlines())
        message = refusal(write_models_file(folder / "models.toml", entry))
        assert f"models.toml, line {line}: " in message
        assert words in message

    @pytest.mark.parametrize(
        ("template", "words"),
        [(None, "has no chat template. Add chat_template.jinja"), ("{% if %}", "does not compile (line 1")],
    )
    def test_a_model_without_a_chat_template(self, tmp_path: Path, template: str | None, words: str) -> None:
        write_open_model(tmp_path / "tiny", template=template)
        message = refusal(write_models_file(tmp_path / "models.toml", ENTRY))
        assert "line 5: model 'tiny': " in message
        assert words in message

    def test_a_damaged_tokenizer_at_the_start_of_a_process(self, folder: Path) -> None:
        (folder / "tiny" / "tokenizer.json").write_text('{"model": 1}')
        file = write_models_file(folder / "models.toml", ENTRY)
        load(str(file))
        assert "tokenizer.json cannot be loaded" in refusal(file, with_tokenizers=True)

    def test_a_missing_extra_says_what_to_install(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("service.catalogue.open_models.files.find_spec", lambda name: None)
        message = refusal(write_models_file(folder / "models.toml", ENTRY))
        assert "line 5" in message
        assert "pip install 'tunegate[open-models]'" in message
        assert importlib.util.find_spec("jinja2") is not None

    def test_names_and_defaults(self, folder: Path) -> None:
        twice = write_models_file(folder / "twice.toml", ENTRY, ENTRY)
        assert "line 11: model 'tiny': another entry has this name" in refusal(twice)
        second = ENTRY.replace('name = "tiny"', 'name = "other"\naliases = ["tiny"]')
        assert "the name 'tiny' belongs to 'tiny' too" in refusal(
            write_models_file(folder / "both.toml", ENTRY, second)
        )
        default = write_models_file(folder / "default.toml", ENTRY, default_model="huge")
        assert "line 1: the default model 'huge' is not among the models: tiny" in refusal(default)

    def test_keys_above_the_entries(self, folder: Path) -> None:
        file = write_models_file(folder / "models.toml", ENTRY)
        file.write_text("defaultmodel = 1\n" + file.read_text())
        assert "line 1: the key `defaultmodel` is unknown" in refusal(file)


def test_the_example_in_the_documentation_loads(folder: Path) -> None:
    """docs/models.md has a models file that can be copied."""
    text = (ROOT / "docs" / "models.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]
    write_open_model(folder / "SmolLM2-135M-Instruct", context=8192)
    (folder / "models.toml").write_text(example)
    assert load(str(folder / "models.toml"), with_tokenizers=True).default.name == "SmolLM2-135M-Instruct"


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text("a = " + "[" * 2_000)
    assert f"The models file {file} cannot be read" in refusal(file)
