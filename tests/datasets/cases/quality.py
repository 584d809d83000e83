"""Cases of the checks in the section Quality."""

from __future__ import annotations

from tests.datasets.cases.material import CUT, KEY, LABELLED, OK, Case, numbered, prefixed
from tests.datasets.rows import (
    asked,
    chat,
    completion,
    jsonl,
    message,
    pair,
)

CASES: dict[str, list[Case]] = {
    "duplicate_example": [
        Case(jsonl(*numbered(3), asked("Question number 1?", "Answer number 1.")), 4, "", jsonl(*numbered(3))),
        Case(jsonl(pair(), {key: pair()[key] for key in reversed(pair())}), 2, "", jsonl(pair(), pair("Better."))),
    ],
    "conflicting_answers": [
        Case(jsonl(asked("Why?", "So."), asked("Why?", "Thus.")), 2, "", jsonl(asked("Why?"), asked("Why?"))),
        Case(
            jsonl(completion("a ->", " b"), completion("a ->", " c")),
            2,
            "",
            jsonl(completion("", " b"), completion("", " c")),
        ),
    ],
    "identical_answers": [
        Case(
            jsonl(*[asked(f"Question {index}", "Please ask our support team.") for index in range(3)]),
            1,
            "",
            jsonl(*[asked(f"Question {index}", "yes") for index in range(3)]),
        )
    ],
    "system_prompts_differ": [
        Case(
            jsonl(chat(), chat(message("system", "Be long."), message("user"), message("assistant"))),
            2,
            "/messages/0",
            jsonl(chat(), chat()),
        )
    ],
    "system_missing": [
        Case(jsonl(chat(), asked()), 2, "/messages", jsonl(chat())),
        Case(jsonl(asked(), asked("Who?")), 1, "/messages", jsonl(chat(message("developer"), *asked()["messages"]))),
    ],
    "label_imbalance": [
        Case(
            jsonl(*[asked(f"Text {index}", "no" if index % 10 == 9 else "yes") for index in range(40)]),
            1,
            "",
            jsonl(*LABELLED),
        )
    ],
    "label_variants": [
        Case(
            jsonl(*[asked(f"Text {index}", ["yes", "no", "Yes ", "No"][index % 4]) for index in range(40)]),
            3,
            "",
            jsonl(*LABELLED),
        )
    ],
    "repeated_opening": [
        Case(
            jsonl(*[asked(f"Question {index}", f"Based on the facts it is number {index}.") for index in range(30)]),
            1,
            "",
            jsonl(*[asked(f"Question {index}", f"Number {index} is what it is, as ever.") for index in range(30)]),
        )
    ],
    "mixed_languages": [
        Case(
            jsonl(
                *[
                    asked(f"Q {index}", "An answer in English." if index % 2 else "这是中文的回答。")
                    for index in range(30)
                ]
            ),
            2,
            "",
            jsonl(*[asked(f"Q {index}", f"这是中文的回答{index}。") for index in range(30)]),
        )
    ],
    "length_outlier": [
        Case(jsonl(*numbered(30), asked("And this?", "A long answer. " * 400)), 31, "", jsonl(*numbered(30)))
    ],
    "low_variety": [
        Case(
            jsonl(*[asked(f"Question {index % 3}", f"Answer {index}") for index in range(30)]),
            1,
            "",
            jsonl(*numbered(30)),
        )
    ],
    "filler_opening": [
        Case(prefixed(asked("Why?", text)), 2, "/messages/1/content", jsonl(asked("Why?", other)))
        for text, other in (
            ("Sure! It rains.", "Surely it rains."),
            ("Of course, it rains.", "Of course"),
            ("Certainly! Here it is.", "Certainly not every day."),
            ("好的,我来回答。", "好的方法有三种。"),
            ("没问题!这样做。", "没问题的人很少"),
            ("当然可以。请看。", "可以这样做。"),
            ("好的\uff0c我来回答。", "回答如下。"),
            ("I'd be happy to help! Do this.", "I'd say this."),
            ("Great question! It is 4.", "Great cities are many."),
        )
    ],
    "filler_opening_share": [
        Case(
            jsonl(*[asked(f"Q {index}", f"Sure! It is {index}.") for index in range(30)]),
            1,
            "",
            jsonl(*numbered(30)),
        )
    ],
    "refusal": [
        *(
            Case(prefixed(asked("Why?", text)), 2, "/messages/1/content", jsonl(asked("Why?", other)))
            for text, other in (
                ("I'm sorry, but I can't help with that.", "I'm sorry to hear that."),
                ("As an AI language model, I do not.", "As an aide he came."),
                ("抱歉\uff0c我无法回答这个问题。", "抱歉让您久等。"),
            )
        ),
        Case(
            jsonl(pair("I can't help with that.", "It rains.")),
            1,
            "/preferred_output/0/content",
            jsonl(pair("It rains.", "I can't help with that.")),
        ),
    ],
    "refusal_share": [
        Case(
            jsonl(*[asked(f"Q {index}", f"I cannot help with {index}.") for index in range(30)]),
            1,
            "",
            jsonl(*numbered(30)),
        )
    ],
    "answer_cut_mid_sentence": [
        Case(prefixed(asked("Why?", CUT)), 2, "/messages/1/content", jsonl(asked("Why?", CUT + " solid."))),
        Case(
            prefixed(
                asked("Why?", "这个问题有三个原因。第一个原因是天气太冷。第二个原因是水面上的温度下降得比较快所以")
            ),
            2,
            "/messages/1/content",
            jsonl(
                asked("Why?", "Here is the list that you wanted to have:\n- a first thing\n- a second thing of them")
            ),
        ),
        Case(
            prefixed(
                asked("Why?", "Here is the code that does it for you:\n```python\nfor line in lines:\n    print(")
            ),
            2,
            "/messages/1/content",
            jsonl(asked("Why?", "Here is the code that does it for you:\n```python\nprint(1)\n```")),
        ),
    ],
    "mojibake": [
        Case(prefixed(asked(text)), 2, "/messages/0/content", jsonl(asked("Über été Âge, œuvre, naïve, são â")))
        for text in (
            "cafÃ© au lait",
            "itâ€™s",
            "bad \ufffd char",
            "锟斤拷",
            "РџСЂРёРІРµС‚",
            "СЃРІРѕР±РѕРґР°",
            "Î•Î»Î»Î¬Î´Î±",
            "ä¸\xadæ–‡",
            "Tiáº¿ng Viá»‡t",
            "–ü—Ä–∏–≤–µ—Ç –º–∏—Ä",
            "┬┐Qu├⌐ tal?",
            "Ã\u0083Â¼ber",
            "Ãƒâ€šÃ‚Â£5",
            "ÖÐÎÄ",
            "‚±‚ñ‚É‚¿‚Í",
            "ÇÑ±¹¾î·Î",
            "оПХБЕР, ЙЮЙ ДЕКЮ?",
            "Ïðèâåò, êàê äåëà?",
            "ÊáëçìÝñá óáò",
        )
    ],
    "c1_control": [
        Case(prefixed(asked(text)), 2, "/messages/0/content", jsonl(asked("don’t – wait…", "cafÃ© \u0092")))
        for text in ("don\u0092t", "wait \u0096 now", "and so on\u0085", "next\u0081")
    ],
    "control_character": [
        Case(prefixed(asked("bell \x07")), 2, "/messages/0/content", jsonl(asked("tab\t and line\r\n"))),
        Case(prefixed(asked("nul \x00")), 2, "/messages/0/content", OK),
    ],
    "unescaped_backslash": [
        Case(prefixed(asked(text)), 2, "/messages/0/content", jsonl(asked(silent)))
        for text, silent in (
            ("Halve $\frac{\beta}{2}$", "page\fbreak"),
            ("The angle $\theta$ is", "It costs $5\tan apple\t$6"),
            ("C:\temp\bin", "Q:\tempo\nA:\nu"),
            ("the expression \bword\b", "N\bNA\bA"),
            ("\alpha and \varepsilon", "bell \a"),
        )
    ],
    "invisible_character": [
        Case(prefixed(asked("a\u200bกา")), 2, "/messages/0/content", jsonl(asked("สวัสดี\u200bครับ"))),
        Case(prefixed(asked("plain \u2066text")), 2, "/messages/0/content", jsonl(asked("שלום \u2066abc\u2069"))),
        Case(
            prefixed(asked("zero\u200bwidth")),
            2,
            "/messages/0/content",
            jsonl(asked("می\u200cخواهم \U0001f468\u200d\U0001f469")),
        ),
        Case(prefixed(asked("rtl \u202e txt")), 2, "/messages/0/content", OK),
    ],
    "secret_found": [
        Case(
            prefixed(asked(f"My key is {secret} ok")),
            2,
            "/messages/0/content",
            jsonl(asked("sk-learn is a ghp_ name")),
        )
        for secret in (
            KEY,
            "AKIA" + "ABCDEFGH12345678",
            "ghp_" + "a1B2" * 9,
            "xoxb-" + "123456789012-abcdef",
            "AIza" + "a1B2c3D" * 5,
            "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTYifQ." + "abcdefghijk",
            "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
            "sk_" + "live_a1b2c3d4e5f6g7h8i9",
        )
    ],
    "personal_email": [
        Case(
            prefixed(asked("Mail ann.lee@corp-mail.co.uk now")),
            2,
            "/messages/0/content",
            jsonl(asked("a@example.com x@y")),
        )
    ],
    "personal_card": [
        Case(
            prefixed(asked("Card 4111 1111 1111 1111 please")),
            2,
            "/messages/0/content",
            jsonl(asked("Order 4111 1111 1111 1112 please")),
        )
    ],
    "personal_national_id": [
        Case(
            prefixed(asked("身份证号 11010519491231002X 。")),
            2,
            "/messages/0/content",
            jsonl(asked("编号 110105194912310021 。")),
        ),
        Case(prefixed(asked("SSN 123-45-6789.")), 2, "/messages/0/content", jsonl(asked("SSN 000-45-6789."))),
    ],
    "personal_phone": [
        Case(
            prefixed(asked(f"Call {number} now")),
            2,
            "/messages/0/content",
            jsonl(asked("In 2026 we made 123456789 of 5.")),
        )
        for number in ("+1 415 555 2671", "13812345678", "(415) 555-2671", "010-62345678", "+49 30 901820")
    ],
}
