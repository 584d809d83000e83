"""Every fix: after it its check finds nothing more, twice is as good as once, and it leaves alone what is right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.checks import CHECKS
from service.datasets.fixes import FIXES
from service.datasets.parsing.formats import file_format
from service.datasets.preparation.changes import Changed, Dropped, Refused, first_difference
from service.datasets.preparation.fixes.registry import FILE_FIXES, READING_FIXES, ROW_FIXES
from service.datasets.preparation.options import IMPLIED_FIXES, SAFE_FIXES
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.cases import CASES, Case
from tests.datasets.preparation.sources import ALL, make
from tests.datasets.rows import (
    MODEL,
    OLD_MODEL,
    asked,
    call,
    calling,
    chat,
    completion,
    function_call_row,
    jsonl,
    message,
    pair,
    report_on,
    tool,
)
from tests.stack import ROOT

FIXED = [
    pytest.param(check.fix, code, case, id=f"{check.fix}-{code}-{number}")
    for code, check in CHECKS.items()
    if check.fix
    for number, case in enumerate(CASES[code])
    if "max_line_bytes" not in case.options  # a preparation has its own limit
]
UNREADABLE = {"table_file-1", "table_file-2", "not_text_file-0", "not_text_file-1"}
"""Cases that are refused with a reason: no column says what it holds, or the file only begins like what it is."""

IMPLIED = {"invalid_json-4": "json_to_jsonl"}
"""Cases that reading changes, whatever is chosen: several objects on a line."""

MALFORMED = {"tools_count", "tool_shape", "call_shape"}
"""What is no function at all is not made a tool: its own check stops a job."""


def fixed(data: bytes, *fixes: str, **more: Any) -> list[Any]:
    return make(data, fixes=fixes, **more).rows


def test_the_registry_has_exactly_the_fixes_that_the_checks_name() -> None:
    assert sorted([*READING_FIXES, *ROW_FIXES, *FILE_FIXES]) == sorted(FIXES)
    assert set(FIXES) > SAFE_FIXES > IMPLIED_FIXES


def test_the_page_lists_each_fix_where_it_belongs() -> None:
    page = (ROOT / "docs/preparations.md").read_text(encoding="utf-8")
    _, _, fixes = page.partition("## Fixes")
    always, _, rest = fixes.partition("Safe, since")
    safe, _, rest = rest.partition("Applied only by name")
    chosen, _, _ = rest.partition("Separator and ending")
    for part, names in ((always, IMPLIED_FIXES), (safe, SAFE_FIXES - IMPLIED_FIXES), (chosen, set(FIXES) - SAFE_FIXES)):
        assert {name for name in FIXES if f"`{name}`" in part} == names


@pytest.mark.parametrize(("fix", "code", "case"), FIXED)
def test_after_a_fix_its_check_finds_nothing_more(
    fix: str, code: str, case: Case, request: pytest.FixtureRequest
) -> None:
    options = dict(case.options)
    model = options.pop("model", MODEL)
    name = request.node.callspec.id.removeprefix(f"{fix}-")
    if name in UNREADABLE:
        with pytest.raises(PreparationRefused):
            make(case.found, fixes=[fix], model=model)
        return
    try:
        made = make(case.found, fixes=[fix], model=model)
    except PreparationRefused as error:
        assert fix.startswith(("drop_", "repair_")), error.message
        assert "No example is left" in error.message
        return
    assert code not in report_on(made.training, model=model, **options).counts
    assert made.result.changes.get(IMPLIED.get(name, fix), 0) > 0
    again = make(made.training, fixes=[fix], model=model)
    assert again.training == made.training
    assert again.result.changes == {}


@pytest.mark.parametrize("code", CASES)
def test_all_fixes_together_leave_nothing_that_one_of_them_fixes(code: str) -> None:
    for case in CASES[code]:
        model = case.options.get("model", MODEL)
        try:
            made = make(case.found, fixes=ALL, model=model)
        except PreparationRefused:
            continue
        left = report_on(made.training, model=model).counts
        known = {"older_functions"} if MALFORMED & set(left) else set()
        assert {found for found in left if CHECKS[found].fix} <= known
        again = make(made.training, fixes=ALL, model=model)
        assert (again.training, again.result.changes) == (made.training, {})


@pytest.mark.parametrize("code", CASES)
def test_without_fixes_rows_come_out_as_they_went_in(code: str) -> None:
    for case in CASES[code]:
        try:
            made = make(case.silent, fixes=())
        except PreparationRefused:
            continue
        rows = [json.loads(line) for line in case.silent.splitlines() if line.strip()]
        assert made.rows == rows


class TestFunctionsToTools:
    def test_definitions_calls_and_answers_are_rewritten(self) -> None:
        (row,) = fixed(jsonl(function_call_row()), "functions_to_tools")
        assert row == {
            "messages": [
                message("user", "How warm is Rome?"),
                {"role": "assistant", "tool_calls": [call(call_id="call_1")]},
                {"role": "tool", "tool_call_id": "call_1", "content": "20 degrees"},
                message("assistant", "It is warm."),
            ],
            "tools": [tool()],
        }
        assert report_on(jsonl(row)).errors == 0

    def test_ids_that_are_taken_are_not_given_again(self) -> None:
        row = calling()
        row["messages"] += [*function_call_row()["messages"]]
        (row_after,) = fixed(jsonl(row), "functions_to_tools")
        ids = [each["id"] for message in row_after["messages"] for each in message.get("tool_calls", [])]
        assert ids == ["call_1", "call_2"]
        assert report_on(jsonl(row_after)).errors == 0

    def test_a_function_with_two_definitions_is_refused(self) -> None:
        row = {**calling(), "functions": [{**tool()["function"], "description": "Another one."}]}
        with pytest.raises(PreparationRefused, match="line 1: tools and functions declare 'weather'"):
            make(jsonl(row))

    def test_a_function_that_is_a_tool_already_goes(self) -> None:
        (row,) = fixed(jsonl({**calling(), "functions": [tool()["function"]]}), "functions_to_tools")
        assert row == calling()

    def test_preference_rows_too(self) -> None:
        older = pair()
        older["input"]["functions"] = [tool()["function"]]
        older["preferred_output"] = [{"role": "assistant", "function_call": call()["function"]}]
        (row,) = fixed(jsonl(older), "functions_to_tools")
        assert row["input"]["tools"] == [tool()]
        assert row["preferred_output"] == [{"role": "assistant", "tool_calls": [call()]}]
        assert report_on(jsonl(row)).errors == 0


class TestMessages:
    @pytest.mark.parametrize(
        ("messages", "left"),
        [
            ([message("system", " "), message("user"), message("assistant")], 2),
            ([message("user"), message("assistant", ""), message("user"), message("assistant")], 3),
            ([message("user"), message("assistant", None)], None),
            ([message("user"), message("assistant", [{"type": "text", "text": " "}])], None),
            (calling()["messages"], 4),
            ([*calling()["messages"][:2], message("tool", "", tool_call_id="call_1"), message("assistant")], 4),
            ([message("user", ""), message("assistant")], None),
            ([message("user"), message("assistant"), message("user", ""), message("assistant")], None),
        ],
    )
    def test_empty_ones_go_and_rows_whose_answer_was_empty(self, messages: list[Any], left: int | None) -> None:
        rows = fixed(jsonl(chat(), chat(*messages)), "drop_empty_messages")
        assert len(rows) == (1 if left is None else 2)
        if left is not None:
            assert len(rows[1]["messages"]) == left

    def test_the_reason_of_a_dropped_row_stands_in_the_diff(self) -> None:
        made = make(jsonl(chat(), asked("Why?", "")), fixes=["drop_empty_messages"])
        (change,) = made.changes
        assert (change["line"], change["action"], change["after"]) == (2, "dropped", None)
        assert change["reason"] == "The answer is empty."
        assert "Why?" in change["before"]

    def test_a_graders_fields_stay(self) -> None:
        row = {"messages": [message("user", "2 + 2?", note="x")], "reference_answer": "4"}
        assert fixed(jsonl(row), "drop_unknown_keys") == [
            {"messages": [message("user", "2 + 2?")], "reference_answer": "4"}
        ]


class TestTexts:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("Sure! it rains.", "It rains."),
            ("sure, it rains.", "it rains."),
            ("Of course! Certainly! Great question! It rains.", "It rains."),
            ("好的,我来回答。", "我来回答。"),
            ("Sure!", "Sure!"),
            ("Surely it rains.", "Surely it rains."),
        ],
    )
    def test_filler_goes_from_answers_alone(self, before: str, after: str) -> None:
        assert make(jsonl(asked(before, before)), fixes=["strip_filler_openings"]).pairs == [(before, after)]

    def test_a_completion_keeps_its_space(self) -> None:
        rows = fixed(jsonl(completion("a ->", " Sure! it rains.")), "strip_filler_openings")
        assert rows[0]["completion"] == " It rains."

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("cafÃ© au lait", "café au lait"),
            ("itâ€™s â€œfineâ€\u009d", "it’s “fine”"),
            ("Ã€ la carte, Âge and naïve Ãœber", "À la carte, Âge and naïve Über"),
            ("ÃƒÂ©tÃƒÂ©", "été"),
            ("ï»¿start", "start"),
            ("Über Âge são", "Über Âge são"),
        ],
    )
    def test_mojibake_is_repaired_where_it_is_some(self, before: str, after: str) -> None:
        assert make(jsonl(asked(before)), fixes=["repair_mojibake"]).pairs[0][0] == after

    def test_what_is_lost_is_dropped(self) -> None:
        made = make(jsonl(asked("fine"), asked("bad \ufffd")), fixes=["repair_mojibake"])
        assert [pair[0] for pair in made.pairs] == ["fine"]

    def test_personal_data_and_secrets_get_placeholders_of_their_kind(self) -> None:
        text = "Ann: ann.lee@corp.com, +1 415 555 2671, 4111 1111 1111 1111, SSN 123-45-6789, sk-" + "a1B2c3D4e5F6g7H8"
        text += "i9J0k1L2, me@example.com"
        made = make(jsonl(asked(text)), fixes=["mask_personal_data", "mask_secrets"])
        assert made.pairs[0][0] == "Ann: [EMAIL], [PHONE], [CARD], SSN [ID], [SECRET], me@example.com"
        assert "corp.com" not in made.diff.decode()

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("Hall one\vHall two\fHall three", "Hall one\nHall two\nHall three"),
            ("one\f\ntwo", "one\ntwo"),
            ("one\x00two\x01three", "one two three"),
            ("o\x00n\x00e\x00", "one"),
            ("\x1b[31mred\x1b[0m text", "red text"),
            ("N\bNA\bAM\bME\bE", "NAME"),
            ("zero\u200bwidth", "zerowidth"),
            ("สวัสดี\u200bครับ\x07", "สวัสดี\u200bครับ"),
        ],
    )
    def test_invisible_characters_go_without_joining_words(self, before: str, after: str) -> None:
        assert make(jsonl(asked(before)), fixes=["strip_invisible"]).pairs[0][0] == after

    @pytest.mark.parametrize(
        ("read", "meant"),
        [
            ("$\frac{\beta}{2}$ and $\theta$", r"$\frac{\beta}{2}$ and $\theta$"),
            ("\alpha, \varepsilon and \nabla", r"\alpha, \varepsilon and \nabla"),
            ("open C:\temp\new\bin\file.txt", r"open C:\temp\new\bin\file.txt"),
            ("match \bword\b here", r"match \bword\b here"),
            ("pay $5\nnot $6", "pay $5\nnot $6"),
            ("Item\t$5\tan apple\t$6", "Item\t$5\tan apple\t$6"),
            ("Q:\tempo\nA:\nu", "Q:\tempo\nA:\nu"),
        ],
    )
    def test_backslashes_come_back_before_characters_are_removed(self, read: str, meant: str) -> None:
        assert make(jsonl(asked(read))).pairs[0][0] == meant

    def test_texts_inside_parts_and_calls_are_texts_too(self) -> None:
        row = calling(calls=[call(arguments='{"city": "Ro\u200bme"}')])
        row["messages"][0]["content"] = [{"type": "text", "text": "How\u200b warm?"}]
        (row_after,) = fixed(jsonl(row), "strip_invisible")
        assert row_after["messages"][0]["content"][0]["text"] == "How warm?"
        assert row_after["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Rome"}'


class TestCompletions:
    def test_a_plain_table_gets_separator_ending_and_space(self) -> None:
        rows = [(f"Question {index}?", f"Answer {index}") for index in "abcdefgh"]
        data = "prompt,completion\n" + "".join(f"{one} x{one},{other}\n" for one, other in rows)
        made = make(data.encode(), target="completion")
        assert made.rows[0] == {"prompt": "Question a? xQuestion a?\n\n###\n\n", "completion": " Answer a ###"}
        assert any("stop" in note for note in made.result.notes)
        assert (
            report_on(made.training).counts.keys()
            & {
                "completion_no_separator",
                "completion_separator_inside",
                "completion_no_ending",
                "completion_no_leading_space",
            }
            == set()
        )

    def test_the_separator_is_longer_where_a_prompt_has_it_inside(self) -> None:
        rows = [completion("one ##\n\n####\n\nx", " a"), completion("two\n\n###\n\ny", " b")]
        made = make(jsonl(*rows), fixes=["add_separator"])
        assert {row["prompt"][-9:] for row in made.rows} == {"\n\n#####\n\n"}

    def test_a_prefix_is_cut_at_a_word_and_never_to_nothing(self) -> None:
        made = make(
            jsonl(completion("Classify this text: apple ->", " b"), completion("Classify this text: apricot ->", " c")),
            fixes=["strip_common_prefix"],
        )
        assert [row["prompt"] for row in made.rows] == ["apple ->", "apricot ->"]
        rows = [completion("a ->", " positive"), completion("b ->", " positive, very")]
        assert fixed(jsonl(*rows), "strip_common_prefix") == rows

    def test_an_empty_completion_does_not_become_an_ending(self) -> None:
        rows = [completion("a ->", ""), completion("b ->", " x"), completion("c ->", " y")]
        assert make(jsonl(*rows), fixes=["add_ending"]).rows[0]["completion"] == ""

    @given(
        st.lists(
            st.tuples(st.text("aB #\n->ü", max_size=12), st.text("aB #\nEND", min_size=1, max_size=12)),
            min_size=1,
            max_size=8,
        )
    )
    def test_all_fixes_settle_whatever_the_texts_are(self, pairs: list[tuple[str, str]]) -> None:
        data = jsonl(*[completion(prompt, answer) for prompt, answer in pairs])
        try:
            made = make(data, fixes=ALL)
        except PreparationRefused:
            return
        again = make(made.training, fixes=ALL)
        assert (again.training, again.result.changes) == (made.training, {})


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", " ", "user", "assistant", "Sure! x", "tool"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "type", "function", "name", "arguments", "tool_calls", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = ["messages", "tools", "functions", "input", "preferred_output", "non_preferred_output", "prompt", "completion"]


@given(st.dictionaries(st.sampled_from(KEYS), ANY_JSON | st.fixed_dictionaries({"messages": st.lists(ANY_JSON)})))
def test_no_row_breaks_a_fix_and_twice_is_as_good_as_once(row: dict[str, Any]) -> None:
    format = file_format([row])
    for fix in ROW_FIXES.values():
        for each in (format, "chat", "completion", "preference", "reinforcement"):
            if each is not None:
                fixed = fix(row, each)
                if isinstance(fixed, Changed):
                    fixed = fixed.row
                    assert fix(fixed, each) == fixed
                assert isinstance(fixed, (Dropped, Refused)) or fix(fixed, each) == fixed


def test_the_first_difference_is_where_it_is() -> None:
    assert first_difference({"a": [1, {"b/c": 2}]}, {"a": [1, {"b/c": 3}]}) == ("/a/1/b~1c", 2, 3)
    assert first_difference({"a": 1}, {}) == ("/a", 1, None)
    assert first_difference([1], [1, 2]) == ("/1", None, 2)


def test_the_limit_is_the_models_own() -> None:
    long = asked("Why?", "This is a sentence of an answer. " * 800)
    assert len(fixed(jsonl(asked(), long), "drop_over_limit", model=OLD_MODEL)) == 1
    assert len(fixed(jsonl(asked(), long), "drop_over_limit")) == 2
