"""What is learned of a row, token by token, for templates in the manner of several families.

In the expected texts «…» encloses what is learned; everything else is read only.
"""

import re
from functools import lru_cache
from typing import Any

import pytest

from service.catalogue.open_models.files import MAX_PREFIX_MESSAGES as GATEWAY_MAX_PREFIX_MESSAGES
from tests.llm import families, tiny
from trainer.engines.llm.messages import NotRendered
from trainer.engines.llm.rendering import Renderer
from trainer.engines.llm.sequences import IGNORED, MAX_PREFIX_MESSAGES, Encoded, Encoder
from trainer.rows import ChatRow, CompletionRow, Conversation, PreferenceRow, Row

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"id": "call00001", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
SYSTEM: dict[str, Any] = {"role": "system", "content": "S"}
USER: dict[str, Any] = {"role": "user", "content": "Hi"}
AGAIN: dict[str, Any] = {"role": "user", "content": "And?"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "Hello"}
LAST: dict[str, Any] = {"role": "assistant", "content": "Bye"}


@lru_cache
def encoder(template: str, *, context: int = 512) -> Encoder:
    tokenizer = tiny.make_tokenizer(template, context=512)
    tokenizer.add_special_tokens({"extra_special_tokens": list(families.SPECIAL)})
    return Encoder(Renderer(tokenizer), context)


def chat(*messages: Any, tools: tuple[Any, ...] = ()) -> ChatRow:
    return ChatRow(Conversation(messages, tools))


def learns(template: str, row: Row, *expected: str) -> Encoded:
    """Compare each sequence with a text in which «…» encloses what is learned: all tokens and all labels."""
    made = encoder(template)
    encoded = made.encode(row)
    assert len(encoded.sequences) == len(expected)
    for sequence, marked in zip(encoded.sequences, expected, strict=True):
        tokens, labels = _tokens_of(made, marked)
        assert made.tokenizer.decode(sequence.tokens) == made.tokenizer.decode(tokens)
        assert sequence.tokens == tokens
        assert made.tokenizer.decode([label for label in sequence.labels if label != IGNORED]) == "".join(
            re.findall("«(.*?)»", marked, re.DOTALL)
        )
        assert sequence.labels == labels
    return encoded


def _tokens_of(made: Encoder, marked: str) -> tuple[list[int], list[int]]:
    text, learned = "", []
    inside = False
    for character in marked:
        if character in "«»":
            inside = character == "«"
        else:
            text += character
            learned.append(inside)
    encoded = made.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens = encoded["input_ids"]
    pairs = zip(tokens, encoded["offset_mapping"], strict=True)
    return tokens, [token if any(learned[begin:end]) else IGNORED for token, (begin, end) in pairs]


S, E = "<|im_start|>", "<|im_end|>"


class TestFamilies:
    def test_chatml(self) -> None:
        learns(tiny.CHATML, chat(USER, ANSWER), f"{S}user\nHi{E}\n{S}assistant\n«Hello{E}»\n")

    def test_chatml_with_a_system_message_of_its_own(self) -> None:
        expected = f"{S}system\nBe kind.{E}\n{S}user\nHi{E}\n{S}assistant\n«Hello{E}»\n"
        learns(families.CHATML_DEFAULT_SYSTEM, chat(USER, ANSWER), expected)

    def test_llama3(self) -> None:
        def turn(role: str) -> str:
            return f"<|start_header_id|>{role}<|end_header_id|>\n\n"

        expected = (
            f"<|begin_of_text|>{turn('system')}S<|eot_id|>{turn('user')}Hi<|eot_id|>{turn('assistant')}«Hello<|eot_id|>»"
            f"{turn('user')}And?<|eot_id|>{turn('assistant')}«Bye<|eot_id|>»"
        )
        learns(families.LLAMA3, chat(SYSTEM, USER, ANSWER, AGAIN, LAST), expected)

    def test_mistral(self) -> None:
        expected = "<s>[INST] Hi [/INST]« Hello</s>»[INST] And? [/INST]« Bye</s>»"
        learns(families.MISTRAL, chat(USER, ANSWER, AGAIN, LAST), expected)

    def test_gemma(self) -> None:
        expected = (
            "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n«Hello<end_of_turn>»\n"
            "<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\n«Bye<end_of_turn>»\n"
        )
        learns(families.GEMMA, chat(USER, ANSWER, AGAIN, LAST), expected)

    def test_gemma_refuses_a_system_message(self) -> None:
        with pytest.raises(NotRendered, match="System role not supported"):
            encoder(families.GEMMA).encode(chat(SYSTEM, USER, ANSWER))

    def test_template_that_leaves_earlier_reasoning_out(self) -> None:
        """Each answer is learned as it is written, after a prompt as it is read: one sequence each."""
        first = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"}
        learns(
            families.THINKING,
            chat(USER, first, AGAIN, LAST),
            f"{S}user\nHi{E}\n{S}assistant\n«<think>\nhm\n</think>\n\nHello{E}»\n",
            f"{S}user\nHi{E}\n{S}assistant\nHello{E}\n{S}user\nAnd?{E}\n{S}assistant\n«Bye{E}»\n",
        )

    def test_same_template_without_reasoning_gives_one_sequence(self) -> None:
        expected = f"{S}user\nHi{E}\n{S}assistant\n«Hello{E}»\n{S}user\nAnd?{E}\n{S}assistant\n«Bye{E}»\n"
        learns(families.THINKING, chat(USER, ANSWER, AGAIN, LAST), expected)


class TestWeights:
    def test_answer_of_weight_0_is_read_only(self) -> None:
        silent = ANSWER | {"weight": 0}
        expected = f"{S}user\nHi{E}\n{S}assistant\nHello{E}\n{S}user\nAnd?{E}\n{S}assistant\n«Bye{E}»\n"
        learns(tiny.CHATML, chat(USER, silent, AGAIN, LAST), expected)

    def test_first_answer_alone(self) -> None:
        expected = f"{S}user\nHi{E}\n{S}assistant\n«Hello{E}»\n{S}user\nAnd?{E}\n{S}assistant\nBye{E}\n"
        learns(tiny.CHATML, chat(USER, ANSWER, AGAIN, LAST | {"weight": 0}), expected)

    def test_reasoning_of_weight_0_needs_no_sequence_of_its_own(self) -> None:
        first = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello", "weight": 0}
        expected = f"{S}user\nHi{E}\n{S}assistant\nHello{E}\n{S}user\nAnd?{E}\n{S}assistant\n«Bye{E}»\n"
        learns(families.THINKING, chat(USER, first, AGAIN, LAST), expected)


class TestMessages:
    def test_developer_is_system(self) -> None:
        developer = {"role": "developer", "content": "S"}
        learns(
            tiny.CHATML, chat(developer, USER, ANSWER), f"{S}system\nS{E}\n{S}user\nHi{E}\n{S}assistant\n«Hello{E}»\n"
        )

    def test_parts_of_text(self) -> None:
        parts = {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}
        learns(tiny.CHATML, chat(parts, ANSWER), f"{S}user\nHi{E}\n{S}assistant\n«Hello{E}»\n")

    def test_refusal(self) -> None:
        refusal = {"role": "assistant", "content": None, "refusal": "I cannot."}
        learns(tiny.CHATML, chat(USER, refusal), f"{S}user\nHi{E}\n{S}assistant\n«I cannot.{E}»\n")

    def test_image_is_refused(self) -> None:
        image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
        with pytest.raises(NotRendered, match=r"messages\[0\].*'image_url'.*text only"):
            encoder(tiny.CHATML).encode(chat(image, ANSWER))

    def test_content_of_many_bytes_a_character(self) -> None:
        answer = {"role": "assistant", "content": "你好 🙂"}
        learns(tiny.CHATML, chat(USER, answer), f"{S}user\nHi{E}\n{S}assistant\n«你好 🙂{E}»\n")

    def test_answer_that_ends_with_a_line_break(self) -> None:
        answer = {"role": "assistant", "content": "Hello\n"}
        learns(tiny.CHATML, chat(USER, answer), f"{S}user\nHi{E}\n{S}assistant\n«Hello\n{E}»\n")


class TestTools:
    TOOLS = (
        f'{S}tools\n{{"type": "function", "function": {{"name": "add", "parameters": {{"type": "object"}}}}}}\n{E}\n'
    )
    WRITTEN = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'

    def test_call_result_and_answer(self) -> None:
        call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        result = {"role": "tool", "tool_call_id": "call00001", "content": "2"}
        learns(
            tiny.CHATML_TOOLS,
            chat(USER, call, result, LAST, tools=(TOOL,)),
            f"{self.TOOLS}{S}user\nHi{E}\n{S}assistant\n«{self.WRITTEN}{E}»\n{S}tool\n2{E}\n{S}assistant\n«Bye{E}»\n",
        )

    def test_call_beside_empty_content(self) -> None:
        call = {"role": "assistant", "content": "", "tool_calls": [CALL]}
        learns(tiny.CHATML_TOOLS, chat(USER, call), f"{S}user\nHi{E}\n{S}assistant\n«{self.WRITTEN}{E}»\n")

    def test_older_function_call(self) -> None:
        call = {"role": "assistant", "content": None, "function_call": CALL["function"]}
        learns(tiny.CHATML_TOOLS, chat(USER, call), f"{S}user\nHi{E}\n{S}assistant\n«{self.WRITTEN}{E}»\n")

    def test_template_that_wants_arguments_as_text(self) -> None:
        call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        expected = f'{S}user\nHi{E}\n{S}assistant\n«<call>add {{"a": 1}}</call>{E}»\n'
        learns(families.TEXT_ARGUMENTS, chat(USER, call), expected)

    @pytest.mark.parametrize("tools", [(TOOL,), ()])
    def test_template_without_tools_refuses_them(self, tools: tuple[Any, ...]) -> None:
        answer = ANSWER if tools else {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}
        with pytest.raises(NotRendered, match=r"leaves tool (definitions|calls) out"):
            encoder(tiny.CHATML).encode(chat(USER, answer, tools=tools))


class TestOtherRows:
    def test_completion(self) -> None:
        learns(tiny.CHATML, CompletionRow("The sky is", " blue"), f"The sky is« blue{E}»")

    def test_preference(self) -> None:
        row = PreferenceRow(Conversation((USER,)), (ANSWER,), (LAST,))
        prompt = f"{S}user\nHi{E}\n{S}assistant\n"
        learns(tiny.CHATML, row, f"{prompt}«Hello{E}»\n", f"{prompt}«Bye{E}»\n")

    def test_answers_in_the_input_of_a_preference_row_are_read_only(self) -> None:
        row = PreferenceRow(Conversation((USER, ANSWER, AGAIN)), (ANSWER,), (LAST,))
        prompt = f"{S}user\nHi{E}\n{S}assistant\nHello{E}\n{S}user\nAnd?{E}\n{S}assistant\n"
        learns(tiny.CHATML, row, f"{prompt}«Hello{E}»\n", f"{prompt}«Bye{E}»\n")


class TestContext:
    def test_end_is_cut_off(self) -> None:
        whole = encoder(tiny.CHATML).encode(chat(USER, ANSWER))
        (sequence,) = whole.sequences
        assert not whole.truncated
        assert whole.tokens == len(sequence.tokens)
        cut = encoder(tiny.CHATML, context=whole.tokens - 1).encode(chat(USER, ANSWER))
        assert (cut.truncated, cut.tokens) == (True, whole.tokens - 1)
        assert cut.sequences[0].tokens == sequence.tokens[:-1]
        assert cut.sequences[0].labels == sequence.labels[:-1]

    def test_answer_that_is_cut_off_entirely(self) -> None:
        cut = encoder(tiny.CHATML, context=5).encode(chat(USER, ANSWER))
        assert not cut.learns


@pytest.mark.parametrize("family", ["llama3", "gemma", "qwen2_5", "qwen3_instruct_2507"])
def test_same_tokens_as_trl_learns(family: str) -> None:
    """TRL's training templates say in the template itself what is learned; behind the end of a turn they may learn a
    line break too, which a model never writes.
    """
    from trl import chat_template_utils as trl

    template = getattr(trl, f"{family}_chat_template")
    tokenizer = encoder(template).tokenizer
    messages = [USER, ANSWER, AGAIN, LAST]
    rendered = tokenizer.apply_chat_template(
        messages,
        chat_template=trl.get_training_chat_template(tokenizer),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    (sequence,) = Encoder(Renderer(tokenizer), 512).encode(chat(*messages)).sequences
    assert sequence.tokens == rendered["input_ids"]
    for token, label, learned in zip(sequence.tokens, sequence.labels, rendered["assistant_masks"], strict=True):
        if tokenizer.decode([token]).strip():
            assert (label != IGNORED) == bool(learned)


def test_a_conversation_with_too_many_answers_is_refused_before_it_is_rendered() -> None:
    """Each answer needs the messages before it to be rendered: the gateway refuses the same rows."""
    assert MAX_PREFIX_MESSAGES == GATEWAY_MAX_PREFIX_MESSAGES
    with pytest.raises(NotRendered, match="at most 300,000 are rendered; divide the conversation"):
        encoder(tiny.CHATML).encode(chat(*[USER, ANSWER] * 550))


def test_a_lone_surrogate_in_arguments_is_replaced() -> None:
    """JSON can escape one inside the text of a call's arguments, and no tokenizer encodes it."""
    function = {"name": "add", "arguments": '{"a": "\\ud800 é"}'}
    calling = {"role": "assistant", "content": None, "tool_calls": [CALL | {"function": function}]}
    (sequence,) = encoder(tiny.CHATML_TOOLS).encode(chat(USER, calling)).sequences
    assert '{"a": "? é"}' in encoder(tiny.CHATML_TOOLS).tokenizer.decode(sequence.tokens)
