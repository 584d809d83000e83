"""Cases of the checks in the section Vision."""

from __future__ import annotations

from tests.datasets.cases.material import BAD_BASE64, CUT_PNG, GIF, JPEG, LARGE_PNG, PNG, WEBP, Case, prefixed
from tests.datasets.rows import (
    chat,
    jsonl,
    with_image,
)

CASES: dict[str, list[Case]] = {
    "image_not_in_user_message": [
        Case(prefixed(with_image(PNG, role="system")), 2, "/messages/0/content/1/image_url", jsonl(with_image(PNG)))
    ],
    "image_url_invalid": [
        *(
            Case(
                prefixed(with_image(bad)),
                2,
                "/messages/0/content/1/image_url/url",
                jsonl(with_image(PNG), with_image(JPEG), with_image(WEBP)),
            )
            for bad in BAD_BASE64
        ),
        Case(prefixed(with_image("cat.png")), 2, "/messages/0/content/1/image_url/url", jsonl(with_image(PNG))),
        Case(prefixed(with_image(5)), 2, "/messages/0/content/1/image_url", jsonl(with_image("https://a.b/c.png"))),
        Case(
            prefixed(with_image("data:image/png;base64,***")), 2, "/messages/0/content/1/image_url/url", jsonl(chat())
        ),
        Case(
            prefixed(with_image(PNG, detail="best")),
            2,
            "/messages/0/content/1/image_url/detail",
            jsonl(with_image(PNG, detail="low")),
        ),
    ],
    "image_type_differs": [
        Case(
            prefixed(with_image(JPEG.replace("jpeg", "png"))),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image(JPEG), with_image(PNG), with_image(WEBP), with_image(JPEG.replace("jpeg", "jpg"))),
        )
    ],
    "image_truncated": [
        Case(
            prefixed(with_image(bad)),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image(JPEG), with_image(PNG), with_image(WEBP), with_image(LARGE_PNG)),
        )
        for bad in (CUT_PNG, JPEG[:-8], WEBP[:-8])
    ],
    "image_type": [
        Case(prefixed(with_image(GIF)), 2, "/messages/0/content/1/image_url/url", jsonl(with_image(PNG))),
        Case(
            prefixed(with_image("https://a.b/c.gif?x=1")),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image("https://a.b/c.webp")),
        ),
        Case(
            prefixed(with_image(GIF.replace("image/gif", "image/png"))),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image(PNG)),
        ),
    ],
    "image_too_large": [
        Case(prefixed(with_image(LARGE_PNG)), 2, "/messages/0/content/1/image_url/url", jsonl(with_image(PNG)))
    ],
    "too_many_images": [Case(prefixed(with_image(PNG, count=11)), 2, "/messages", jsonl(with_image(PNG, count=10)))],
}
