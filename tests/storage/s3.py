"""A store that speaks what is used of S3 (Amazon S3 API reference): objects, ranges, uploads in parts, lists."""

import hashlib
import itertools
import threading
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class ObjectStore(ThreadingHTTPServer):
    """It listens on `port` of this machine, and has one bucket, whose name nobody looks at."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.port: int = self.server_address[1]
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.numbers = itertools.count()
        self.largest_range = 0
        threading.Thread(target=self.serve_forever, name="store", daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectStore

    def do_GET(self) -> None:
        if self._key:
            self._object(with_body=True)
            return
        (prefix,) = self._query.get("prefix", [""])
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>x</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, content in sorted(self.server.objects.items())
            if key.startswith(prefix)
        )
        self._xml("ListBucketResult", f"<IsTruncated>false</IsTruncated>{found}")

    def do_HEAD(self) -> None:
        self._object(with_body=False)

    def do_PUT(self) -> None:
        content = self._body()
        upload = self._query.get("uploadId")
        if upload:
            self.server.uploads[upload[0]][int(self._query["partNumber"][0])] = content
        else:
            self.server.objects[self._key] = content
        self._answer(200, fields={"etag": hashlib.md5(content, usedforsecurity=False).hexdigest()})

    def do_POST(self) -> None:
        body = self._body()
        if "delete" in self._query:
            keys = [element.text or "" for element in ET.fromstring(body).iter() if element.tag.endswith("Key")]
            for key in keys:
                self.server.objects.pop(key, None)
            self._xml("DeleteResult", "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys))
        elif "uploads" in self._query:
            upload = f"upload-{next(self.server.numbers)}"
            self.server.uploads[upload] = {}
            self._xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        else:
            parts = self.server.uploads.pop(self._query["uploadId"][0])
            self.server.objects[self._key] = b"".join(parts[number] for number in sorted(parts))
            self._xml("CompleteMultipartUploadResult", "<ETag>x</ETag>")

    def do_DELETE(self) -> None:
        self.server.uploads.pop(self._query["uploadId"][0], None)
        self._answer(204)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    @property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _object(self, *, with_body: bool) -> None:
        content = self.server.objects.get(self._key)
        if content is None:
            self._answer(404)
            return
        fields = {"etag": "x", "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        asked = self.headers.get("range")
        if asked is None:
            self._answer(200, content, fields, with_body=with_body)
            return
        begin, _, last = asked.removeprefix("bytes=").partition("-")
        if int(begin) >= len(content):
            self._answer(416)
            return
        part = content[int(begin) : int(last) + 1]
        self.server.largest_range = max(self.server.largest_range, len(part))
        fields["content-range"] = f"bytes {begin}-{int(begin) + len(part) - 1}/{len(content)}"
        self._answer(206, part, fields, with_body=with_body)

    def _xml(self, name: str, inner: str) -> None:
        self._answer(200, f"<{name}>{inner}</{name}>".encode(), {"content-type": "application/xml"})

    def _answer(
        self, status: int, content: bytes = b"", fields: Mapping[str, str] = {}, *, with_body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)
