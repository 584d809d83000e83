"""`client.models`, `client.chat.completions` and `client.completions` of the official SDK."""

import httpx2
import openai
import pytest
from openai.types import Completion, Model, ModelDeleted
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract.conftest import Trained
from tests.contract.strict import adapter, strict_items, strictly
from tests.wire import MODEL, chat_rows, checked, completion_rows, ended, jsonl, refusal, upload

QUESTION = "How long is river 3?"


class TestModels:
    def test_list_has_the_base_models_and_our_own(self, trained: Trained) -> None:
        answer = trained.tenant.sdk().models.with_raw_response.list()
        body = answer.http_response.json()
        assert set(body) == {"object", "data"}
        models = strict_items(Model, body["data"])
        names = [model.id for model in models]
        assert {"gpt-4o-mini", "gpt-4o-mini-2024-07-18", "davinci-002", trained.model} <= set(names)
        assert len(set(names)) == len(names)
        assert [model.id for model in trained.tenant.sdk().models.list()] == names
        own = next(model for model in models if model.id == trained.model)
        assert (own.owned_by, own.created > 0) == ("tunegate", True)

    @pytest.mark.parametrize("name", ["gpt-4o-mini", "davinci-002"])
    def test_a_base_model_is_retrieved(self, sdk: openai.OpenAI, name: str) -> None:
        model = strictly(Model, sdk.models.with_raw_response.retrieve(name))
        assert (model.id, model.owned_by) == (name, "system")
        assert "shutdown_date" in model.to_dict()

    def test_a_tuned_model_is_retrieved_and_asked_until_it_is_deleted(
        self, sdk: openai.OpenAI, http: httpx2.Client
    ) -> None:
        file_id = upload(http, jsonl(completion_rows(10)))
        checked(http, file_id)
        asked = {"model": "babbage-002", "training_file": file_id, "hyperparameters": {"n_epochs": 1}}
        job = ended(http, http.post("/fine_tuning/jobs", json=asked).json()["id"])
        name = job["fine_tuned_model"]
        assert strictly(Model, sdk.models.with_raw_response.retrieve(name)).id == name
        answer = sdk.completions.with_raw_response.create(model=name, prompt="River 4 ->", max_tokens=8)
        completion = strictly(Completion, answer)
        assert (completion.model, completion.object) == (name, "text_completion")
        assert completion.usage is not None
        checkpoint = sdk.fine_tuning.jobs.checkpoints.list(job["id"]).data[0].fine_tuned_model_checkpoint
        deleted = strictly(ModelDeleted, sdk.models.with_raw_response.delete(name))
        assert (deleted.id, deleted.deleted) == (name, True)
        for gone in (name, checkpoint):
            with pytest.raises(openai.NotFoundError) as refused:
                sdk.completions.create(model=gone, prompt="x")
            assert refused.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            sdk.models.delete(name)

    def test_a_base_model_cannot_be_deleted(self, sdk: openai.OpenAI) -> None:
        with pytest.raises(openai.ConflictError) as refused:
            sdk.models.delete(MODEL)
        assert refused.value.code == "model_not_deletable"
        assert refused.value.response.headers["x-should-retry"] == "false"


class TestChat:
    def test_a_tuned_model_gives_its_answer(self, trained: Trained) -> None:
        answer = trained.tenant.sdk().chat.completions.with_raw_response.create(
            model=trained.model,
            messages=[
                {"role": "system", "content": "You answer about rivers."},
                {"role": "user", "content": QUESTION},
            ],
        )
        completion = strictly(ChatCompletion, answer)
        assert completion.model == trained.model
        assert completion.choices[0].message.content
        assert completion.usage is not None
        assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens

    def test_a_stream_says_the_same_in_pieces(self, trained: Trained) -> None:
        sdk = trained.tenant.sdk()
        with sdk.chat.completions.with_streaming_response.create(
            model=trained.model,
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        ) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-request-id"].startswith("req_")
            lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
        assert lines.pop() == "[DONE]"
        chunks = [adapter(ChatCompletionChunk).validate_json(line, strict=True) for line in lines]
        assert {chunk.model for chunk in chunks} == {trained.model}
        assert chunks[-1].usage is not None
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        whole = sdk.chat.completions.create(model=trained.model, messages=[{"role": "user", "content": QUESTION}])
        assert said == whole.choices[0].message.content

    def test_the_sdk_reads_the_stream(self, sdk: openai.OpenAI) -> None:
        stream = sdk.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], stream=True, max_tokens=5
        )
        assert {chunk.object for chunk in stream} == {"chat.completion.chunk"}


class TestCompletions:
    def test_legacy_call_whole_and_streamed(self, sdk: openai.OpenAI) -> None:
        whole = strictly(
            Completion, sdk.completions.with_raw_response.create(model="davinci-002", prompt="River", max_tokens=6)
        )
        pieces = list(sdk.completions.create(model="davinci-002", prompt="River", max_tokens=6, stream=True))
        assert whole.model == pieces[0].model == "davinci-002"
        assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == whole.choices[0].text


class TestRefusals:
    @pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
    def test_a_model_of_nobody_here(self, http: httpx2.Client, trained: Trained, path: str) -> None:
        names = (trained.model, trained.model[:-4] + "none")
        answers = [http.post(path, json={"model": name, "messages": [], "prompt": "x"}) for name in names]
        assert [answer.status_code for answer in answers] == [404, 404]
        texts = [answer.text.replace(name, "NAME") for answer, name in zip(answers, names, strict=True)]
        assert texts[0] == texts[1]
        assert refusal(answers[0])["code"] == "model_not_found"

    def test_the_upstream_s_refusal_is_passed_on(self, sdk: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}], n=9)
        assert refused.value.param == "n"
        with pytest.raises(openai.BadRequestError):
            sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}], n=9, stream=True)


def test_two_projects_may_train_alike(trained: Trained, sdk: openai.OpenAI, http: httpx2.Client) -> None:
    """Another project's tuned model is not listed, even made of the same bytes."""
    upload(http, jsonl(chat_rows(12)))
    assert trained.model not in [model.id for model in sdk.models.list()]
