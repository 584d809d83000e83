"""Bounds of requests, and of upstreams' answers to them."""

from service.app import MAX_BODY_BYTES
from service.billing.usage import MAX_RESULTS
from service.documented_limits.limit import FIXED, Limit, by_setting, shown
from service.egress.connections import MAX_HEAD_BYTES
from service.http.bodies import MAX_QUERY_PARAMETERS
from service.http.keyless_bodies import BODY_SECONDS, MAX_BODIES
from service.http.multipart import MAX_BOUNDARY, MAX_FIELD_BYTES, MAX_FIELDS, MAX_FORM_BYTES
from service.http.protocol import MAX_PIPELINED, MIN_SENT_PER_SECOND, SEND_SECONDS
from service.inference.routes import MAX_INFERENCE_BYTES
from service.jobs.adapter_settings import MAX_ALPHA, MAX_RANK, MAX_TARGETS
from service.jobs.gpu_metering import MAX_GPUS
from service.json_limits import MAX_DEPTH, MAX_VALUES
from service.upstreams.adapters.answers import MAX_EVENT_VALUES, MAX_LINE_BYTES, MIN_LINE_BYTES
from service.upstreams.adapters.large_answers import MAX_LARGE_VALUES
from service.upstreams.adapters.transport import MAX_CONTROL_BYTES, MIN_PIECE_BYTES
from service.upstreams.inbound_webhooks import MAX_BODY_BYTES as MAX_INBOUND_BYTES

REQUESTS: tuple[Limit, ...] = (
    by_setting(
        "max_header_bytes",
        name="bytes of the URL and the headers",
        counted="request; trailers and extensions of chunks count alike",
        above="431 `header_too_large`",
        honest_use="the SDK sends under 1 KB; other servers accept 8 to 64 KB",
    ),
    by_setting(
        "max_headers",
        name="headers",
        counted="request",
        above="431 `header_too_large`",
        honest_use="the SDK behind two proxies sends under 30",
    ),
    by_setting(
        "header_seconds",
        name="seconds until the headers are complete",
        counted="connection, and again after each response",
        above="408 `request_timeout`",
        honest_use="clients send all headers at once",
    ),
    by_setting(
        "max_connections_without_request",
        name="connections without a request in progress",
        counted="process",
        above="the oldest is closed",
        honest_use="a client keeps a handful of idle connections, and uses another when one is closed",
    ),
    Limit(
        name="requests sent before their answers",
        value=shown(MAX_PIPELINED),
        counted="connection",
        above="the connection is closed",
        change=FIXED,
        honest_use="HTTP clients in use send one",
    ),
    Limit(
        name=f"seconds in which a client accepts less than {MIN_SENT_PER_SECOND} bytes a second of its response",
        value=shown(int(SEND_SECONDS)),
        counted="connection",
        above="the connection is closed",
        change=FIXED,
        honest_use="the slowest mobile connections (GPRS) have 4 KB/s",
    ),
    by_setting(
        "body_idle_seconds",
        name="seconds in which a body pauses, or has less than 1,024 bytes a second",
        counted="request",
        above="408 `request_timeout`",
        honest_use="mobile connections pause for some seconds; the slowest (GPRS) have 4 KB/s",
    ),
    Limit(
        name="seconds of a body without an API key (an upstream's webhook)",
        value=shown(int(BODY_SECONDS)),
        counted="request",
        above="408 `request_timeout`",
        change=FIXED,
        honest_use="OpenAI's events have under 1 KB, and come with their headers",
    ),
    Limit(
        name="bodies without an API key that are being read",
        value=shown(MAX_BODIES),
        counted="process",
        above="the oldest is refused: 408 `request_timeout`",
        change=FIXED,
        honest_use="an honest one is read within milliseconds",
    ),
    by_setting(
        "json_body_seconds",
        name="seconds of a JSON body",
        counted="request",
        above="408 `request_timeout`",
        honest_use="50 MB of images at 4 Mbit/s take 100 s",
    ),
    Limit(
        name="levels of JSON",
        value=shown(MAX_DEPTH),
        counted="request; answer of an upstream",
        above="400 `invalid_json`; 502 `upstream_answer_too_large`",
        change=FIXED,
        honest_use="OpenAI accepts schemas of ten levels, which are thirty of JSON",
    ),
    Limit(
        name="values of JSON",
        value=shown(MAX_VALUES),
        counted="request; answer of an upstream",
        above="400 `invalid_json`; 502 `upstream_answer_too_large`",
        change=FIXED,
        honest_use="a prompt of 128,000 token ids",
    ),
    Limit(
        name="values of an answer with `logprobs`",
        value=shown(MAX_LARGE_VALUES),
        counted="call",
        above="502 `upstream_answer_too_large`",
        change=FIXED,
        honest_use="16,000 tokens with 20 alternatives each have 2,440,000",
    ),
    Limit(
        name="parameters of a URL",
        value=shown(MAX_QUERY_PARAMETERS),
        counted="request",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="the list with the most filters takes 16",
    ),
    by_setting(
        "max_project_memory_bytes",
        name="memory of bodies and answers",
        counted="project in a process",
        above="429 `memory_limit_exceeded`",
        honest_use="nine concurrent requests with 10 MB of images each, counted twice",
    ),
    by_setting(
        "max_answer_bytes",
        name="bytes of an upstream's answer to inference (four times as many as a stream)",
        counted="call",
        above="502 `upstream_answer_too_large`",
        honest_use="16,000 tokens with 20 alternatives each have 25 MB",
    ),
    Limit(
        name="bytes of an event of an upstream's stream",
        value=shown(MAX_LINE_BYTES),
        counted="event",
        above="`upstream_answer_too_large` as the stream's last event",
        change=FIXED,
        honest_use="an event with 20 alternatives of a token has 2 KB",
    ),
    Limit(
        name="bytes of an answer's head, interim responses included",
        value=shown(MAX_HEAD_BYTES),
        counted="answer of an upstream or of a webhook's receiver",
        above="the upstream counts as unavailable; the delivery's attempt fails as `protocol_error`",
        change=FIXED,
        honest_use="heads have under 4 KB",
    ),
    Limit(
        name="least average bytes of a piece (chunk) of an answer, after 1,000 pieces",
        value=shown(MIN_PIECE_BYTES),
        counted="answer of an upstream",
        above="the upstream counts as unavailable",
        change=FIXED,
        honest_use="a streamed token has some 200",
    ),
    Limit(
        name="values of an event of an upstream's stream",
        value=shown(MAX_EVENT_VALUES),
        counted="event",
        above="`upstream_answer_too_large` as the stream's last event",
        change=FIXED,
        honest_use="a token with 20 alternatives has some 300",
    ),
    Limit(
        name="least average bytes of a line of a stream, after 1,000 lines",
        value=shown(MIN_LINE_BYTES),
        counted="answer of an upstream",
        above="`upstream_answer_too_large` as the stream's last event",
        change=FIXED,
        honest_use="a streamed token has a line of some 200 and an empty one",
    ),
    Limit(
        name="bytes of an upstream's other answers",
        value=shown(MAX_CONTROL_BYTES),
        counted="answer",
        above="the upstream counts as unavailable",
        change=FIXED,
        honest_use="a page of a hundred jobs has some 100 KB",
    ),
    Limit(
        name="results of a page of costs or usage",
        value=shown(MAX_RESULTS),
        counted="request, over all buckets of the page",
        above="the page has fewer buckets; 400 if one bucket alone has more",
        change=FIXED,
        honest_use="180 days of fifty keys are 9,000",
    ),
    Limit(
        name="bytes of a JSON body",
        value=shown(MAX_BODY_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="the largest create in the SDK's documentation has some KB",
    ),
    Limit(
        name="`rank` of a job's `adapter`; its `alpha`; names of its `targets`",
        value=f"{shown(MAX_RANK)}; {shown(MAX_ALPHA)}; {shown(MAX_TARGETS)}",
        counted="request",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="LoRA's paper has ranks of 1 to 64; a layer of Llama has seven linear ones",
    ),
    Limit(
        name="GPUs whose time an upstream may report for a job",
        value=shown(MAX_GPUS),
        counted="job, from its admission on",
        above="the figure counts as not reported",
        change=FIXED,
        honest_use="a job runs on 1 to 64",
    ),
    Limit(
        name="bytes of a body of inference",
        value=shown(MAX_INFERENCE_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="OpenAI accepts 50 MB of images in a request",
    ),
    Limit(
        name="bytes of an upstream's webhook",
        value=shown(MAX_INBOUND_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="OpenAI's events have under 1 KB",
    ),
    Limit(
        name="parts of a multipart body",
        value=shown(MAX_FIELDS),
        counted="request",
        above="400 `invalid_multipart`",
        change=FIXED,
        honest_use="the SDK sends at most four",
    ),
    Limit(
        name="bytes of a text field of a multipart body",
        value=shown(MAX_FIELD_BYTES),
        counted="field",
        above="400 `invalid_value`",
        change=FIXED,
        honest_use="purposes and expiry rules have under 100 bytes",
    ),
    Limit(
        name="bytes of a multipart body beside its file",
        value=shown(MAX_FORM_BYTES),
        counted="request",
        above="413 `request_too_large`",
        change=FIXED,
        honest_use="the fields of the SDK have under 1 KB",
    ),
    Limit(
        name="characters of a multipart boundary",
        value=shown(MAX_BOUNDARY),
        counted="request",
        above="400 `invalid_content_type`",
        change=FIXED,
        honest_use="the standard's own limit; clients use 16 to 60",
    ),
)
"""What a request may consist of."""
