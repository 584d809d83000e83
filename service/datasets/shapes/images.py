"""Images beside a conversation, and their places in it: `images` with `<image>` in the texts.

Sources: LLaVA, and the documentation of LLaMA-Factory and ms-swift.
"""

from __future__ import annotations

import re
from typing import Any

from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import CannotConvert, Row

_PLACE = re.compile(r"[ \t]*\n?<image>\n?")
_MEDIA = ("videos", "video", "audios", "audio")


def with_images(row: Row, messages: list[Row]) -> list[Row]:
    """The messages with the images of `row` where `<image>` stands, or before the first question if it stands nowhere.

    Raises `CannotConvert` for images that are files, for other media, and for places without an image.
    """
    for key in _MEDIA:
        if parsed(row.get(key)) not in (None, "", [], {}):
            raise CannotConvert(f"`{key}` cannot be a part of a message; remove it, or the row")
    images = [_url(image) for image in _images(row)]
    places = sum(_places(message) for message in messages)
    if not images and not places:
        return messages
    if not images:
        raise CannotConvert("a text has <image>, and the row has no image; add `images`, or remove <image>")
    if not places:
        return _before_the_question(messages, images)
    if places != len(images):
        raise CannotConvert(f"{places} times <image> in the texts for {len(images)} images; make both equal")
    left = iter(images)
    return [_placed(message, left) if _places(message) else message for message in messages]


def _images(row: Row) -> list[Any]:
    for key in ("images", "image"):
        found = parsed(row.get(key))
        if found not in (None, "", [], {}):
            return found if isinstance(found, list) else [found]
    return []


def _url(image: Any) -> str:
    if isinstance(image, dict):
        image = image.get("url") or image.get("path") or image.get("image")
    if not isinstance(image, str):
        raise CannotConvert("an image must be a URL, or a data URL with its bytes in base64")
    if not image.startswith(("https://", "http://", "data:image/")):
        raise CannotConvert(
            f"the image {image[:80]} is a file, which an upstream cannot read; give its URL, or its bytes as "
            "data:image/png;base64,…"
        )
    return image


def _places(message: Row) -> int:
    content = message.get("content")
    return content.count("<image>") if isinstance(content, str) else 0


def _placed(message: Row, images: Any) -> Row:
    if message["role"] != "user":
        raise CannotConvert(f"<image> stands in words of the {message['role']}; only the user's can contain images")
    texts = _PLACE.split(message["content"])
    parts: list[Row] = []
    for number, text in enumerate(texts):
        if number:
            parts.append({"type": "image_url", "image_url": {"url": next(images)}})
        if text.strip():
            parts.append({"type": "text", "text": text})
    return {**message, "content": parts}


def _before_the_question(messages: list[Row], images: list[str]) -> list[Row]:
    for number, message in enumerate(messages):
        if message["role"] == "user" and isinstance(message["content"], str):
            parts = [{"type": "image_url", "image_url": {"url": image}} for image in images]
            question = {**message, "content": [*parts, {"type": "text", "text": message["content"]}]}
            return [*messages[:number], question, *messages[number + 1 :]]
    raise CannotConvert("the row has images, and no words of the user to put them before")
