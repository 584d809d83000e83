"""Checks of images in messages.

Source of the rules: OpenAI's guide to vision fine-tuning: user messages only, at most 10 images in an example, each
at most 10 MB, JPEG, PNG or WEBP, as an HTTP(S) URL or as base64. Images are not fetched from their URLs; only the
URL's file name is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from service.datasets.checks.image_data import base64_fault, first_bytes, is_truncated, real_type
from service.datasets.checks.registry import Hit, example_check
from service.datasets.parsing.formats import PARTS, messages_of

SECTION = "Vision"
MAX_IMAGES = 10
MAX_IMAGE_BYTES = 10 << 20
_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)?(;base64)?,", re.IGNORECASE)
_TYPES = ("image/jpeg", "image/jpg", "image/png", "image/webp")
_NOT_BASE64 = "A data URL must be base64: write data:image/png;base64,…; percent-encoding is not accepted."
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
            fault = base64_fault(url[data_url.end() :]) if data_url.group(2) else _NOT_BASE64
            if fault is not None:
                yield Hit(f"{pointer}/url", url[:60], fault)
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
        first = first_bytes(url[data_url.end() :])
        if declared not in _TYPES:
            yield Hit(f"{pointer}/url", url[:60], "An image must be JPEG, PNG or WEBP; convert this one.")
        elif first and real_type(first) is None:
            yield Hit(f"{pointer}/url", url[:60], "The bytes of this image are not JPEG, PNG or WEBP; convert it.")


@example_check(
    "image_type_differs", "warning", SECTION, formats=("chat", "preference", "reinforcement"), needs=(PARTS,)
)
def image_type_differs(row: dict[str, Any]) -> Iterator[Hit]:
    """A data URL declares another type than its image has: `image/png` for a JPEG. Some upstreams refuse it."""
    for pointer, declared, encoded in _data_urls(row):
        real = real_type(first_bytes(encoded))
        if real is not None and declared in _TYPES and declared.replace("jpg", "jpeg") != real:
            yield Hit(f"{pointer}/url", declared, f"The URL says {declared}, but the image is {real}; write that.")


@example_check("image_truncated", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=(PARTS,))
def image_truncated(row: dict[str, Any]) -> Iterator[Hit]:
    """The end of an image is missing: the closing chunk of a PNG, the end marker of a JPEG, or bytes of a WEBP."""
    for pointer, declared, encoded in _data_urls(row):
        if is_truncated(encoded):
            yield Hit(f"{pointer}/url", declared, "The end of this image is missing; encode the whole file again.")


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


def _data_urls(row: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Every image in a base64 data URL, as (pointer of its `image_url`, declared type, base64)."""
    for pointer, _, image in images(row):
        url = image.get("url") if isinstance(image, dict) else None
        found = _DATA_URL.match(url) if isinstance(url, str) else None
        if isinstance(url, str) and found is not None and found.group(2):
            yield pointer, (found.group(1) or "").lower(), url[found.end() :]
