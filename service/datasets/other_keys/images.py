"""Images beside messages or in a message's own key: they become `image_url` parts, at `<image>` if the text has it."""

from __future__ import annotations

import re
from typing import Any

from service.datasets.other_keys.moving import Moving
from service.datasets.other_keys.names import plain_name

NAMES = frozenset({"image", "images", "image_url", "image_urls"})
_PLACEHOLDER = re.compile(r"<image(?:_\d+)?>")
_URL = re.compile(r"https?://|data:image/", re.IGNORECASE)
_BASE64_STARTS = {"/9j/": "jpeg", "iVBORw0KGgo": "png", "R0lGOD": "gif", "UklGR": "webp"}
_TYPES = ("url", "image", "image_url", "input_image", "base64")
_LOCAL = "it names no URL and has no image data; give an https URL or a data URL"


def move_images(moving: Moving) -> None:
    """The images of each user message, then those beside the messages."""
    for pointer, message in moving.messages():
        for key in _keys(message):
            if message.get("role") != "user":
                moving.cannot(pointer, key, "only user messages can have images")
            else:
                _place(moving, pointer, message, key, [message])
    places = [("", moving.row), moving.main] if moving.main[1] is not moving.row else [moving.main]
    users = [each for each in moving.conversation or () if isinstance(each, dict) and each.get("role") == "user"]
    for pointer, holder in places:
        for key in _keys(holder):
            if users:
                _place(moving, pointer, holder, key, users)
            else:
                moving.cannot(pointer, key, "there is no user message to put the images into")


def _keys(holder: dict[str, Any]) -> list[str]:
    return [key for key in holder if plain_name(key) in NAMES and holder[key]]


def _place(moving: Moving, pointer: str, holder: dict[str, Any], key: str, messages: list[dict[str, Any]]) -> None:
    value = holder[key]
    images = [_part(each) for each in (value if isinstance(value, list) else [value])]
    parts = [image for image in images if image is not None]
    if len(parts) < len(images):
        moving.cannot(pointer, key, _LOCAL)
        return
    places = sum(len(_PLACEHOLDER.findall(text)) for message in messages for text in _texts(message.get("content")))
    if places not in (0, len(parts)):
        moving.cannot(pointer, key, f"there are {len(parts)} images and {places} places <image> in the texts")
        return
    moving.moved(holder, pointer, key, "image_url parts of the user message")
    rest = list(parts)
    if not places:
        messages[0]["content"] = [*rest, *_as_parts(messages[0].get("content"))]
        return
    for message in messages:
        if any(_PLACEHOLDER.search(text) for text in _texts(message.get("content"))):
            message["content"] = [part for each in _as_parts(message["content"]) for part in _filled(each, rest)]


def _part(value: Any) -> dict[str, Any] | None:
    """The part of an image that is given as a URL, as base64, or as an object with one of them."""
    detail: dict[str, Any] = {}
    if isinstance(value, dict):
        keys = [key for key in ("url", "image_url", "image", "bytes", "base64", "data") if value.get(key)]
        known = {"url", "image_url", "image", "bytes", "base64", "data", "path", "detail", "type"}
        if len(keys) != 1 or not value.keys() <= known or value.get("type", "url") not in _TYPES:
            return None
        if isinstance(value.get("detail"), str):
            detail = {"detail": value["detail"]}
        if isinstance(value[keys[0]], dict):
            return _part(value[keys[0]])
        value = value[keys[0]]
    if not isinstance(value, str):
        return None
    url = value.strip()
    if not _URL.match(url):
        kind = next((kind for start, kind in _BASE64_STARTS.items() if url.startswith(start)), None)
        if kind is None:
            return None
        url = f"data:image/{kind};base64,{url}"
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def _texts(content: Any) -> list[str]:
    return [each["text"] for each in _as_parts(content) if isinstance(each, dict) and isinstance(each.get("text"), str)]


def _as_parts(content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if isinstance(content, str) and content else []


def _filled(part: Any, images: list[dict[str, Any]]) -> list[Any]:
    """A text part with images in the places of their placeholders."""
    if not isinstance(part, dict) or not isinstance(part.get("text"), str) or not _PLACEHOLDER.search(part["text"]):
        return [part]
    made: list[Any] = []
    at = 0
    for found in _PLACEHOLDER.finditer(part["text"]):
        made += [_with_text(part, part["text"][at : found.start()].strip()), images.pop(0)]
        at = found.end()
    made.append(_with_text(part, part["text"][at:].strip()))
    return [each for each in made if each is not None]


def _with_text(part: dict[str, Any], text: str) -> dict[str, Any] | None:
    return {**part, "text": text} if text else None
