"""The words by which columns are recognised, in several languages, and the comparison of names.

A name is compared in lower case and without spaces and punctuation (`plain_name`). The first words are preferred. Where
no name is one of the words, a name that contains one as a whole word is recognised (`Customer question`), if it is the
only such column.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

Part = Literal["prompt", "answer", "system"]

COLUMN_WORDS: dict[Part, tuple[str, ...]] = {
    "prompt": (
        "prompt", "question", "instruction", "query", "user", "input", "request", "source", "q",
        "questions", "instructions", "prompts", "userprompt", "usermessage", "human",
        "text", "sentence", "review", "comment", "utterance",
        "inputs", "problem",
        "问题", "提问", "指令", "用户", "输入", "問題", "提問", "用戶", "輸入",
        "frage", "fragen", "anweisung", "eingabe", "anfrage", "aufforderung",
        "consigne", "requête", "requete", "demande", "entrée", "entree",
        "pregunta", "preguntas", "instrucción", "instruccion", "consulta", "entrada", "solicitud",
        "domanda", "domande", "istruzione", "richiesta", "ingresso",
        "pergunta", "perguntas", "instrução", "instrucao", "pedido",
        "вопрос", "вопросы", "инструкция", "запрос", "промпт", "пользователь", "ввод",
        "質問", "問い", "指示", "プロンプト", "入力", "ユーザー",
        "질문", "지시", "지시문", "명령", "프롬프트", "입력", "사용자",
        "vraag", "pytanie", "fråga", "spørgsmål", "spørsmål", "otázka", "kérdés", "soru", "питання", "سؤال", "प्रश्न",
        "ερώτηση", "ερώτημα", "שאלה", "întrebare", "intrebare", "kysymys", "küsimus", "klausimas", "jautājums",
        "въпрос", "pitanje", "vprašanje", "пытанне", "پرسش", "คำถาม", "câuhỏi", "pertanyaan", "soalan",
    ),
    "answer": (
        "completion", "answer", "response", "output", "reply", "assistant", "label", "target", "category", "class",
        "intent", "sentiment", "a", "answers", "responses", "completions", "bot",
        "targets", "solution",
        "回答", "答案", "回复", "输出", "标签", "类别", "回覆", "輸出", "標籤",
        "antwort", "antworten", "ausgabe", "erwiderung", "kategorie",
        "réponse", "reponse", "réponses", "reponses", "sortie", "catégorie",
        "respuesta", "respuestas", "salida", "contestación", "categoría", "etiqueta",
        "risposta", "risposte", "uscita", "etichetta",
        "resposta", "respostas", "saída", "saida", "categoria",
        "ответ", "ответы", "вывод", "категория", "метка",
        "答え", "解答", "応答", "出力", "返答", "ラベル",
        "답변", "대답", "정답", "응답", "출력", "답", "라벨",
        "antwoord", "odpowiedź", "odpowiedz", "svar", "odpověď", "odpoveď", "válasz", "cevap", "yanıt", "відповідь",
        "إجابة", "جواب", "उत्तर", "απάντηση", "תשובה", "răspuns", "raspuns", "vastaus", "vastus", "atsakymas", "atbilde",
        "отговор", "odgovor", "адказ", "پاسخ", "คำตอบ", "trảlời", "câutrảlời", "jawaban",
    ),
    "system": (
        "system", "systemprompt", "systemmessage", "系统", "系统提示", "系統", "系統提示",
        "systemnachricht", "systemanweisung", "système", "systeme", "messagesystème", "promptsystème",
        "sistema", "mensajedelsistema", "promptdesistema", "promptdisistema", "mensagemdosistema",
        "система", "системныйпромпт", "системноесообщение", "システム", "システムプロンプト",
        "시스템", "시스템프롬프트",
    ),
}  # fmt: skip
"""Words of English, Chinese, German, French, Spanish, Italian, Portuguese, Russian, Japanese and Korean, and those for
question and answer of further languages."""

INSTRUCTION_WORDS = ("instruction", "指令", "anweisung", "consigne", "instrucción", "istruzione", "инструкция", "指示")
CONTEXT_WORDS = (
    "input",
    "context",
    "输入",
    "eingabe",
    "kontext",
    "contexte",
    "contexto",
    "contesto",
    "контекст",
    "入力",
)
PASSAGE_WORDS = ("context", "passage")
"""A text that a question is about."""

_GENERIC = frozenset({"text", "sentence", "review", "comment", "utterance"})
"""Names of the text beside a label, which mean nothing inside of another name."""

_MIN_CONTAINED = 4
_CJK = "\u2e80"  # scripts that do not separate words
_NO_TEXTS = frozenset(
    {"id", "ids", "key", "no", "nr", "number", "date", "time", "timestamp", "created", "url", "link", "lang",
     "language", "type", "length", "len", "tokens", "count", "score", "rating", "rank", "status", "name", "email",
     "model", "index"}
)  # fmt: skip
"""Words of columns that describe a text and do not contain it, as in `question_id`."""

_SPLIT = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")


def plain_name(name: str) -> str:
    """A name in lower case without spaces and punctuation."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return "".join(each for each in folded if each.isalnum() or unicodedata.category(each)[0] == "M")


def plain_names(names: Sequence[str]) -> dict[str, str]:
    """Columns by their plain names; of two with the same name the first."""
    return {plain_name(name): name for name in reversed(names)}


def is_known(name: str) -> bool:
    """Whether a name is one of the words of a part."""
    plain = plain_name(name)
    return any(plain in words for words in COLUMN_WORDS.values())


def are_known(names: Sequence[str]) -> bool:
    """Whether the names have one for the question and another one for the answer."""
    prompt = column_for("prompt", names)
    return prompt is not None and column_for("answer", [name for name in names if name != prompt]) is not None


def column_for(part: Part, names: Sequence[str]) -> str | None:
    """The column whose name is a word of the part, or the only one whose name contains such a word."""
    by_name = plain_names(names)
    words = COLUMN_WORDS[part]
    exact = next((by_name[word] for word in words if word in by_name), None)
    if exact is not None:
        return exact
    long = {word for word in words if word not in _GENERIC and len(word) >= (_MIN_CONTAINED if word.isascii() else 2)}
    others = {word for other, known in COLUMN_WORDS.items() if other != part for word in known}
    contained = [name for name in names if plain_name(name) not in others and _contains(name, long)]
    return contained[0] if len(contained) == 1 else None


def _contains(name: str, words: set[str]) -> bool:
    """Whether one of up to three words of a name is known or ends as a known one (`Kundenfrage`, `質問内容`)."""
    tokens = {token.casefold() for token in _SPLIT.split(name) if token}
    if len(tokens) > 3 or tokens & _NO_TEXTS:
        return False
    return bool(tokens & words) or any(
        token.endswith(word) or (word in token and word[0] >= _CJK) for token in tokens for word in words
    )
