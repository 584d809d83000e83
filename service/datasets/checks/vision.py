"""Checks of images in messages.

Source of the rules: OpenAI's guide to vision fine-tuning: user messages only, at most 10 images in an example, each
at most 10 MB, JPEG, PNG or WEBP, as an HTTP(S) URL or as base64. Images are not fetched from their URLs; only the
URL's file name is checked.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from service.datasets.checks.registry import Hit, example_check
from service.datasets.parsing.formats import PARTS, messages_of

SECTION = "Vision"
MAX_IMAGES = 10
MAX_IMAGE_BYTES = 10 << 20
_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)?(;base64)?,", re.IGNORECASE)
_TYPES = ("image/jpeg", "image/jpg", "image/png", "image/webp")
_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"RIFF", "image/webp"))
_OTHER_SUFFIX = re.compile(r"\.(gif|bmp|tiff?|svg|heic|avif|ico|pdf)(?:$|[?#])", re.IGNORECASE)
_DETAILS = (None, "auto", "low", "high")


@example_check(
    "image_not_in_user_message", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=(PARTS,)
)
def image_not_in_user_message(row: dict[str, Any]) -> Iterator[Hit]:
    """A message whose role is not user has an image. Upstreams drop or refuse rows whose assistant sends one."""
    for pointer, role, _ in images(row):
        if role != "user":
            yield Hit(pointer, "", "Only user messages can have images; remove this one.")


@example_check("image_url_invalid", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=(PARTS,))
def image_url_invalid(row: dict[str, Any]) -> Iterator[Hit]:
    """`image_url` is not an object whose `url` is an HTTP(S) URL or `data:image/…;base64,…`, or its `detail` is not
    auto, low or high.
    """
    for pointer, _, image in images(row):
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str):
            yield Hit(pointer, image, 'An image is {"type": "image_url", "image_url": {"url": "…"}}.')
            continue
        data_url = _DATA_URL.match(url)
        if data_url:
            if not data_url.group(2) or not _first_bytes(url[data_url.end() :]):
                yield Hit(f"{pointer}/url", url[:60], "The image is not valid base64; write data:image/png;base64,….")
        elif not url.lower().startswith(("http://", "https://")):
            yield Hit(f"{pointer}/url", url[:60], "The url must start with https:// or with data:image/….")
        if isinstance(image, dict) and image.get("detail") not in _DETAILS:
            yield Hit(f"{pointer}/detail", image["detail"], "detail must be auto, low or high.")


@example_check("image_type", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=(PARTS,))
def image_type(row: dict[str, Any]) -> Iterator[Hit]:
    """An image is not JPEG, PNG or WEBP, by its declared type, its first bytes, or the ending of its URL."""
    for pointer, _, image in images(row):
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str):
            continue
        data_url = _DATA_URL.match(url)
        if data_url is None:
            if _OTHER_SUFFIX.search(url[:2_000]):
                yield Hit(f"{pointer}/url", url[:100], "An image must be JPEG, PNG or WEBP; convert this one.")
            continue
        declared = (data_url.group(1) or "").lower()
        first = _first_bytes(url[data_url.end() :])
        real = next((name for magic, name in _MAGIC if first.startswith(magic)), None)
        if declared not in _TYPES:
            yield Hit(f"{pointer}/url", url[:60], "An image must be JPEG, PNG or WEBP; convert this one.")
        elif first and real is None:
            yield Hit(f"{pointer}/url", url[:60], "The bytes of this image are not JPEG, PNG or WEBP; convert it.")


@example_check("image_too_large", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=(PARTS,))
def image_too_large(row: dict[str, Any]) -> Iterator[Hit]:
    """An image has over 10 MB after decoding."""
    for pointer, _, image in images(row):
        url = image.get("url") if isinstance(image, dict) else None
        data_url = _DATA_URL.match(url) if isinstance(url, str) else None
        if isinstance(url, str) and data_url:
            size_bytes = (len(url) - data_url.end()) * 3 // 4
            if size_bytes > MAX_IMAGE_BYTES:
                message = f"This image has about {size_bytes:,} bytes; {MAX_IMAGE_BYTES:,} are allowed. Scale it down."
                yield Hit(f"{pointer}/url", url[:60], message)


@example_check("too_many_images", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=(PARTS,))
def too_many_images(row: dict[str, Any]) -> Iterator[Hit]:
    """An example has over 10 images."""
    count = sum(1 for _ in images(row))
    if count > MAX_IMAGES:
        yield Hit("/messages", "", f"This example has {count} images; at most {MAX_IMAGES} are allowed.")


def images(row: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Every image of a row, as (pointer of its `image_url`, role of its message, its `image_url`)."""
    for pointer, message in messages_of(row):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") == "image_url":
                yield f"{pointer}/content/{index}/image_url", message.get("role"), part.get("image_url")


def _first_bytes(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded[:64], validate=True)
    except (binascii.Error, ValueError):
        return b""
