"""A corpus of chats for benchmarks: 47 % English, 30 % Chinese and 23 % code by bytes, the same bytes for the same seed.

The texts mean nothing, but are made of thousands of different sentences with the lengths, repetitions and signs of real
ones: words by Zipf's law, numbers, names, lists, blocks of code, system prompts that repeat, a few e-mail addresses,
filler openings, duplicates and conflicting answers. So tokenizers and checks meet what they meet in practice.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

MEGABYTE = 1_000_000
_SHARES = {"english": 0.47, "chinese": 0.30, "code": 0.23}
_SENTENCES = 12_000
_SEED = 20261

_ENGLISH = ["the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he", "his", "but", "at", "are", "this", "have", "from", "or", "had", "an", "they", "which", "one", "you", "were", "all", "her", "she", "there", "would", "their", "we", "him", "been", "has", "when", "who", "will", "no", "more", "if", "out", "so", "up", "said", "what", "its", "about", "than", "into", "them", "can", "only", "other", "time", "new", "some", "could", "these", "two", "may", "first", "then", "do", "any", "like", "my", "now", "over", "such", "our", "man", "me", "even", "most", "made", "after", "also", "well", "before", "must", "through", "years", "where", "much", "your", "way", "down", "should", "because", "long", "each", "just", "state", "those", "people", "too", "mister", "how", "little", "good", "world", "make", "very", "year", "still", "see", "own", "work", "men", "day", "get", "here", "old", "between", "both", "life", "being", "under", "three", "never", "know", "same", "last", "another", "while", "us", "off", "might", "great", "go", "come", "since", "against", "right", "came", "take", "used", "himself", "few", "house", "use", "place", "during", "high", "without", "again", "home", "around", "small", "however", "found", "part", "school", "thought", "went", "say", "general", "once", "upon", "war", "left", "every", "system", "water", "number", "number", "order", "course", "fact", "quite", "service", "request", "database", "customer", "account", "payment", "invoice", "refund", "shipment", "delivery", "warehouse", "schedule", "contract", "policy", "insurance", "deposit", "mortgage", "interest", "currency", "exchange", "temperature", "pressure", "reactor", "molecule", "protein", "enzyme", "neuron", "gradient", "tensor", "matrix", "vector", "kernel", "compiler", "pointer", "thread", "mutex", "latency", "throughput", "bandwidth", "packet", "router", "firewall", "certificate", "signature", "encryption", "token", "session", "cookie", "browser", "recipe", "flour", "butter", "oven", "garlic", "onion", "tomato", "chicken", "simmer", "whisk", "marinate", "restaurant", "menu", "reservation", "itinerary", "passport", "luggage", "airport", "terminal", "museum", "cathedral", "harbour", "mountain", "valley", "glacier", "volcano", "earthquake", "hurricane", "climate", "emission", "renewable", "turbine", "battery", "voltage", "circuit", "transistor", "semiconductor", "satellite", "orbit", "telescope", "galaxy", "nebula", "asteroid", "symphony", "orchestra", "violin", "rehearsal", "painting", "sculpture", "gallery", "novel", "chapter", "paragraph", "metaphor", "narrator", "dialogue", "grammar", "vocabulary", "translation", "dialect", "pronunciation", "philosophy", "ethics", "justice", "democracy", "parliament", "constitution", "amendment", "verdict", "plaintiff", "negotiation", "arbitration", "merger", "acquisition", "dividend", "portfolio", "volatility", "inflation", "unemployment", "productivity", "patient", "diagnosis", "symptom", "prescription", "dosage", "surgery", "recovery", "vaccine", "antibody", "infection", "allergy", "nutrition", "metabolism", "marathon", "tournament", "championship", "goalkeeper", "referee", "stadium", "coach", "training", "stretching", "endurance", "bicycle", "helmet"]

_CHINESE = ["的", "是", "在", "我们", "可以", "这个", "一个", "如果", "需要", "问题", "使用", "进行", "用户", "系统", "数据", "时间", "公司", "产品", "服务", "客户", "订单", "支付", "退款", "发货", "物流", "仓库", "合同", "政策", "保险", "存款", "贷款", "利率", "汇率", "温度", "压力", "分子", "蛋白质", "神经网络", "梯度", "矩阵", "向量", "内核", "编译器", "指针", "线程", "延迟", "吞吐量", "带宽", "路由器", "防火墙", "证书", "签名", "加密", "会话", "浏览器", "食谱", "面粉", "黄油", "大蒜", "洋葱", "番茄", "鸡肉", "餐厅", "菜单", "预订", "行程", "护照", "行李", "机场", "航站楼", "博物馆", "大教堂", "港口", "山脉", "冰川", "火山", "地震", "台风", "气候", "排放", "可再生能源", "涡轮", "电池", "电压", "电路", "晶体管", "半导体", "卫星", "轨道", "望远镜", "银河", "交响乐", "管弦乐团", "小提琴", "绘画", "雕塑", "小说", "章节", "隐喻", "对话", "语法", "词汇", "翻译", "方言", "发音", "哲学", "伦理", "正义", "民主", "议会", "宪法", "修正案", "判决", "原告", "谈判", "仲裁", "合并", "收购", "股息", "投资组合", "波动", "通货膨胀", "失业率", "生产力", "患者", "诊断", "症状", "处方", "剂量", "手术", "康复", "疫苗", "抗体", "感染", "过敏", "营养", "代谢", "马拉松", "锦标赛", "守门员", "裁判", "体育场", "教练", "训练", "耐力", "自行车", "头盔", "因此", "但是", "同时", "首先", "其次", "最后", "例如", "通过", "根据", "对于", "提高", "降低", "分析", "设计", "实现", "测试", "部署", "监控", "优化", "检查", "确认", "提交", "审核", "批准", "取消", "恢复", "备份", "迁移", "学习", "研究", "发现", "解释", "说明", "比较", "选择", "建议", "注意", "避免", "快速", "稳定", "安全", "简单", "复杂", "重要", "必要", "有效", "常见", "不同", "相同", "主要", "具体", "详细", "完整", "准确", "传统", "现代", "国际", "北京", "上海", "深圳", "东京", "伦敦", "春天", "夏天", "昨天", "明天"]

_NAMES = ["Ada", "Grace", "Linus", "Mei", "Omar", "Priya", "Sven", "Yuki", "Chen", "Fatima", "Diego", "Ingrid", "Kwame", "Leila", "Noah", "Olga", "Pablo", "Ravi", "Sara"]
_LANGUAGES = {
    "python": (
        ("def {a}_{b}({c}, *, limit={n}):", "class {A}{B}({C}):", "async def {a}({b}: {C}) -> {D} | None:"),
        (
            '    """{prose}"""', "    {d} = [{c}.{a} for {c} in {b}s if {c}.{b} is not None]", "    # {prose}",
            "    for index, {a} in enumerate({d}, start={n}):", "        self._{a}[{b}.{d}_id] = {b}.{c} * {f}",
            '        raise ValueError(f"too many {d}: {{index!r}} > {n}")', "    return sorted({a}, key=lambda {b}: -{b}.{c})",
            "    with open({a}_path, encoding='utf-8') as {b}_file:", "        {c}.extend(line.split(',')[{n} % 7] for line in {b}_file)",
            "    assert {a}.{b}({c}={n}, {d}={f}) == {n}", "    try:", "        await self.{a}.{b}({c})", "    except ({A}Error, OSError):",
            "    {a}, {b} = {b} or {n}, {{**{c}, '{d}': {f}}}", "    while {a} and {b} < {n}:", "        yield {{'{a}': {b}, '{c}': {d}}}",
        ),
        ("",),
    ),
    "typescript": (
        ("export async function {a}{B}({c}: {C}): Promise<{D}[]> {{", "export const {a}{B} = ({c}: {C}, {d} = {n}) => {{"),
        (
            "  // {prose}", "  const {a} = await fetch(`/api/{b}/${{{c}.id}}?{d}=${{{n}}}`);", "  if (!{a}.ok) {{ throw new {A}Error('{b}'); }}",
            "  return {a}.{b}.map((x) => ({{ ...x, {c}: x.{d} ?? {f} }}));", "  let {a}: Record<string, {B}> = {{}};",
            "  for (const {a} of Object.values({b})) {c}.push({a}.{d} * {n});", "  document.querySelector('#{a}-{b}')?.remove();",
            "  setTimeout(() => {a}.{b}({c}), {n});", "  {a} ||= {b}.find((item) => item.{c} === '{d}');", "  console.debug(`{a} ${{{b}}} of {n}`);",
        ),
        ("}}",),
    ),
    "sql": (
        ("SELECT {a}.id, {b}.{c}, count(*) AS {d}_count", "WITH {a}_{b} AS (SELECT * FROM {c}s)", "INSERT INTO {a}s ({b}, {c}, {d})"),
        (
            "FROM {a}s AS {a} JOIN {b}s AS {b} ON {b}.{a}_id = {a}.id", "WHERE {a}.{c} >= {n} AND {b}.{d} IS NOT NULL",
            "  -- {prose}", "LEFT JOIN LATERAL (SELECT max({a}) AS {b} FROM {c}s WHERE {d} < {n}) AS last_{d} ON true",
            "GROUP BY {a}, {b}", "HAVING avg({c}) > {f}", "UNION ALL SELECT {a}, NULL, {n} FROM {b}s",
        ),
        ("ORDER BY 3 DESC LIMIT {n};", "ON CONFLICT ({a}) DO NOTHING;", "RETURNING {a}, {b};"),
    ),
    "go": (
        ("func (s *{A}Service) {B}(ctx context.Context, {c} []{C}) error {{", "type {A}{B} struct {{", "func {A}{D}(w io.Writer) int {{"),
        (
            "\tout := make(map[string]int, len({c}))", "\tfor i, v := range {a} {{ out[v.{D}.Name] += v.{B}*{n} + i }}",
            '\tif err != nil {{ return fmt.Errorf("{a} %d: missing {d}: %w", {n}, err) }}', "\t// {prose}", "\tdefer s.{a}.Unlock()",
            "\tselect {{ case <-ctx.Done(): return ctx.Err(); case s.{a} <- {b}: }}", '\t{A} *{B} `json:"{c},omitempty"`',
            "\tgo func() {{ {a}.{B}({n}); wg.Done() }}()",
        ),
        ("}}", "\treturn nil\n}}"),
    ),
    "cpp": (
        ("template <typename T> class {A}{B} {{", "std::vector<{A}> {b}(const {C}& {c}, int {d} = {n}) {{", "struct {A} : public {B} {{"),
        (
            "  explicit {A}(std::size_t {c}) : {c}_({c}), {d}_({n}) {{}}", "  for (std::size_t i = 0; i < {b}.size(); ++i) sum += {b}[i] * {f};",
            "  // {prose}", "  auto it = {a}.find({b}); if (it == {a}.end()) return std::nullopt;", "  std::unique_ptr<{A}> {b} = std::make_unique<{A}>({n});",
            "  static_assert(sizeof({A}) <= {n}, \"{b} too large\");", "  std::lock_guard<std::mutex> lock({a}_mutex_);",
            "  if ({a} && !{b}->{c}()) throw std::runtime_error(\"{d}\");", "  return {a} / static_cast<double>({b}_ | 0x{n}u);",
        ),
        ("}};", "}}"),
    ),
}  # fmt: skip
"""First lines, lines in between and last lines."""

_SYSTEMS = 40


def write_corpus(path: Path, size_bytes: int, *, seed: int = _SEED) -> int:
    """Writes at least `size_bytes` of JSON Lines to `path`; returns the number of rows."""
    rows = 0
    written = 0
    with path.open("wb") as file:
        for line in _lines(random.Random(seed)):
            written += file.write(line)
            rows += 1
            if written >= size_bytes:
                return rows
    raise AssertionError("the corpus has no end")


def _lines(random: random.Random) -> Iterator[bytes]:
    kinds = {"english": _prose(random, _english), "chinese": _prose(random, _chinese)}
    kinds["code"] = _codes(random, kinds["english"])
    systems = [_text(random, kinds[random.choice(("english", "chinese"))], 3) for _ in range(_SYSTEMS)]
    weights = list(accumulate(1 / rank for rank in range(1, _SYSTEMS + 1)))
    written = dict.fromkeys(_SHARES, 1)
    recent: list[bytes] = []
    while True:
        kind = min(_SHARES, key=lambda name: written[name] / _SHARES[name])
        texts = kinds[kind]
        chance = random.random()
        if recent and chance < 0.004:
            line = random.choice(recent)
        else:
            messages: list[dict[str, str]] = []
            if chance < 0.7:
                messages.append({"role": "system", "content": random.choices(systems, cum_weights=weights)[0]})
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                user = {"role": "user", "content": _text(random, texts if kind != "code" else kinds["english"], 2)}
                if chance > 0.98:
                    user["name"] = random.choice(_NAMES)
                messages += [user, {"role": "assistant", "content": _answer(random, texts, kind)}]
            line = json.dumps({"messages": messages}, ensure_ascii=chance > 0.95).encode() + b"\n"
        written[kind] += len(line)
        recent = [*recent[-50:], line]
        yield line


def _answer(random: random.Random, texts: list[str], kind: str) -> str:
    chance = random.random()
    text = _text(random, texts, 1 + int(random.expovariate(0.25)) if kind != "code" else random.randint(1, 3))
    if chance < 0.03:
        return ("好的,没问题!" if kind == "chinese" else "Sure! ") + text
    if chance < 0.035:
        return f"{text} {random.choice(_NAMES).lower()}.{random.choice(_ENGLISH)}@corp{random.randint(1, 99)}.com"
    if chance < 0.2 and kind != "code":
        return "\n".join(f"{number}. {line}" for number, line in enumerate(random.choices(texts, k=4), start=1))
    return text


def _text(random: random.Random, texts: list[str], sentences: int) -> str:
    return " ".join(random.choices(texts, k=sentences)) + random.choice(("", "", f" ({random.randint(1, 99_999)})."))


def _prose(random: random.Random, sentence: Callable[[random.Random], str]) -> list[str]:
    return [sentence(random) for _ in range(_SENTENCES)]


def _english(random: random.Random) -> str:
    words = random.choices(_ENGLISH, cum_weights=_ZIPF_ENGLISH, k=random.randint(6, 22))
    if random.random() < 0.3:
        words[random.randrange(len(words))] += ","
    if random.random() < 0.2:
        words[-1] = random.choice((f"{random.randint(2, 9_999)}", f"{random.random() * 100:.1f} %", "“so it is”", "it's"))
    if random.random() < 0.2:
        words[0] = random.choice(_NAMES)
    return " ".join(words).capitalize() + random.choice((".", ".", ".", "?", "!", ":"))


def _chinese(random: random.Random) -> str:
    words = random.choices(_CHINESE, cum_weights=_ZIPF_CHINESE, k=random.randint(5, 18))
    words[len(words) // 2] += ","
    if random.random() < 0.2:
        words.append(f"{random.randint(2, 9_999)}个")
    return "".join(words) + random.choice(("。", "。", "。", "?", "!"))


def _codes(random: random.Random, prose: list[str]) -> list[str]:
    names = [word for word in _ENGLISH if len(word) > 3]
    codes = []
    for _ in range(_SENTENCES // 2):
        language = random.choice(list(_LANGUAGES))
        first, middle, last = _LANGUAGES[language]
        lines = [random.choice(first), *random.sample(middle, random.randint(2, min(len(middle), 8))), random.choice(last)]
        code = "\n".join(_filled(random, line, names, prose) for line in lines)
        codes.append(f"```{language}\n{code}\n```" if random.random() < 0.7 else code)
    return codes


def _filled(random: random.Random, line: str, names: list[str], prose: list[str]) -> str:
    a, b, c, d = random.choices(names, k=4)
    return line.format(
        **{"a": a, "b": b, "c": c, "d": d, "A": a.title(), "B": b.title(), "C": c.title(), "D": d.title()},
        n=random.randint(2, 5_000),
        f=round(random.random(), 3),
        prose=random.choice(prose),
    )


_ZIPF_ENGLISH = list(accumulate(1 / (rank + 5) ** 0.8 for rank in range(len(_ENGLISH))))
_ZIPF_CHINESE = list(accumulate(1 / (rank + 5) ** 0.8 for rank in range(len(_CHINESE))))
