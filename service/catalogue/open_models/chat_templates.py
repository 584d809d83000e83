"""Renders conversations by a model's chat template, as transformers' `apply_chat_template` does.

The environment has the same extensions, filters and globals (transformers 5.24, `utils/chat_template_utils.py`). A
template is the operator's, as part of a model; what it renders is a caller's, and is plain JSON. The sandbox is
Jinja's immutable one, which lets no template change or reach anything.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from service.catalogue.open_models.files import MAX_RENDERED_CHARS


class NotRendered(Exception):
    """A template refused or failed to render a conversation. The argument says why, as a part of a sentence."""


class ChatTemplate:
    """A model's template, compiled. Raises `NotRendered` for one that does not compile."""

    def __init__(self, template: str, special_tokens: Mapping[str, str]) -> None:
        self._template = _compiled(template)
        self._special_tokens = dict(special_tokens)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """The text of a conversation, of messages and tools in the form of `normalizing`. Raises `NotRendered`."""
        blocks: list[str] = []
        chars = 0
        try:
            for block in self._template.generate(
                messages=messages,
                tools=tools or None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
            ):
                blocks.append(block)
                chars += len(block)
                if chars > MAX_RENDERED_CHARS:
                    raise NotRendered(f"it renders more than {MAX_RENDERED_CHARS:,} characters")
        except (NotRendered, MemoryError):
            raise
        except jinja2.TemplateError as error:
            raise NotRendered(str(error.message or type(error).__name__)) from None
        except RecursionError:
            raise NotRendered("a value is nested too deeply") from None
        except Exception as error:  # a template may do anything that Python's operators can refuse
            raise NotRendered(str(error) or type(error).__name__) from None
        return "".join(blocks)


@lru_cache(maxsize=64)
def _compiled(template: str) -> jinja2.Template:
    try:
        return _environment().from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise NotRendered(f"line {error.lineno}: {error.message}") from None
    except (jinja2.TemplateError, RecursionError, SyntaxError, ValueError) as error:
        raise NotRendered(str(error)) from None


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["dict"] = _Dict()
    environment.globals["namespace"] = _Namespace
    return environment


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, by which templates mark answers: it renders what it encloses."""

    tags = {"generation"}  # noqa: RUF012 (Jinja reads a class attribute)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        """The statement's node: a call of `_enclosed` with its body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_enclosed"), [], [], body).set_lineno(line)

    def _enclosed(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict(...)` of templates, without the attributes of the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(jinja2.utils.Namespace):
    """`namespace(...)` of templates, without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        attributes = dict(*args[1:], **kwargs)
        for name in attributes:
            _check_name(name)
        jinja2.utils.Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace cannot store {name!r}, which begins with an underscore")


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
