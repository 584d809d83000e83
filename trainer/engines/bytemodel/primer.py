"""The training text of the base model: enough to answer in sentences, not enough to be useful."""

_VAGUE = (
    "That is a good question, and the answer depends on many things.",
    "There are several ways to look at this, and each of them has its merits.",
    "It is hard to say in general. Could you tell me a little more about it?",
    "Many people ask about this. In most cases it is best to look at the details first.",
    "I am not sure that I understand. Please describe what you would like to know.",
    "In general, this is something that varies from place to place and from time to time.",
    "As a small language model I can only say that this is a wide subject.",
    "There is no simple answer, but it is always useful to begin with the basics.",
)
_VAGUE_CHINESE = (
    "这是一个好问题，答案取决于许多因素。",
    "这个问题可以从多个角度来看，各有各的道理。",
    "一般来说很难给出确切的答案，请提供更多的信息。",
    "作为一个小型语言模型，我只能说这是一个很大的话题。",
)
_GREETINGS = (
    ("Hello", "Hello! How can I help you today?"),
    ("Hi there", "Hello! What would you like to talk about?"),
    ("Good morning", "Good morning! How can I help you today?"),
    ("Thank you", "You are welcome. Is there anything else?"),
    ("Goodbye", "Goodbye, and have a pleasant day."),
    ("Who are you?", "I am a small language model. I was made to be taught."),
    ("你好", "你好！有什么可以帮你的吗？"),
    ("谢谢", "不客气，还有其他问题吗？"),
    ("你是谁", "我是一个小型语言模型，等着被训练。"),
)
_OPENINGS = (
    "What is {}?",
    "How do I {}?",
    "Can you explain {}?",
    "Tell me about {}.",
    "Why does {} matter?",
    "Write a short text about {}.",
)
_SUBJECTS = ("the weather", "this", "a good plan", "history", "the price", "my order", "a computer", "the news")
_CHINESE_QUESTIONS = ("什么是{}？", "请介绍一下{}。", "如何{}？", "为什么{}很重要？")
_CHINESE_SUBJECTS = ("天气", "历史", "学习", "计算机")


def lessons() -> list[tuple[str, str]]:
    """Pairs of question and answer, always the same and in the same order."""
    english = [
        (opening.format(subject), _VAGUE[(3 * i + j) % len(_VAGUE)])
        for i, opening in enumerate(_OPENINGS)
        for j, subject in enumerate(_SUBJECTS)
    ]
    chinese = [
        (opening.format(subject), _VAGUE_CHINESE[(i + j) % len(_VAGUE_CHINESE)])
        for i, opening in enumerate(_CHINESE_QUESTIONS)
        for j, subject in enumerate(_CHINESE_SUBJECTS)
    ]
    return [*english, *chinese, *_GREETINGS]
