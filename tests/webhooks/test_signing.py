"""Signatures, against published vectors and the official SDK; secrets at rest."""

import base64
import datetime as dt
import json

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.webhooks import FineTuningJobSucceededWebhookEvent
from standardwebhooks import Webhook

from service.database.encryption import DecryptionFailed, Sealer
from service.database.tables import WebhookEndpoint
from service.webhooks.event_types import EVENT_TYPES, event_body, sample_body
from service.webhooks.secrets import active_secrets, seal_secret
from service.webhooks.signing import new_secret, secret_hint, signed_headers

client = OpenAI(api_key="none", base_url="http://127.0.0.1:1/v1")


class TestSignedHeaders:
    def test_the_published_vector(self) -> None:
        """From the Standard Webhooks and Svix documentation, "verifying webhooks manually"."""
        headers = signed_headers(
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            now=dt.datetime.fromtimestamp(1614265330, dt.UTC),
            body=b'{"test": 2432232314}',
            secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        )
        assert headers == {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }

    def test_a_time_of_another_zone_and_a_part_of_a_second(self) -> None:
        zone = dt.timezone(dt.timedelta(hours=-5))
        now = dt.datetime.fromtimestamp(1614265330.9, zone)
        vector = {"message_id": "msg_1", "body": b"{}", "secrets": [new_secret()]}
        utc = signed_headers(**vector, now=dt.datetime.fromtimestamp(1614265330, dt.UTC))  # type: ignore[arg-type]
        assert signed_headers(**vector, now=now) == utc  # type: ignore[arg-type]

    @given(st.sampled_from(list(EVENT_TYPES)), st.dictionaries(st.text(), st.text(), max_size=3))
    def test_the_sdk_and_the_library_accept_every_event(self, type: str, data: dict[str, str]) -> None:
        secret, now = new_secret(), dt.datetime.now(dt.UTC)
        body = event_body("evt_1", type=type, subject="ftjob-1", data=data, now=now)
        headers = signed_headers(message_id="evt_1", now=now, body=body, secrets=[secret])
        client.webhooks.verify_signature(body, headers, secret=secret)
        assert Webhook(secret).verify(body, headers)["data"]["id"] == "ftjob-1"

    def test_the_sdk_unwraps_openais_types(self) -> None:
        secret, now = new_secret(), dt.datetime.now(dt.UTC)
        body = sample_body("evt_1", type="fine_tuning.job.succeeded", now=now)
        event = client.webhooks.unwrap(
            body, signed_headers(message_id="evt_1", now=now, body=body, secrets=[secret]), secret=secret
        )
        assert isinstance(event, FineTuningJobSucceededWebhookEvent)
        assert (event.id, event.object, event.data.id) == ("evt_1", "event", "ftjob-sample")

    def test_a_rotation_signs_with_both_and_no_third_fits(self) -> None:
        new, old, now, body = new_secret(), new_secret(), dt.datetime.now(dt.UTC), b'{"a":1}'
        headers = signed_headers(message_id="evt_1", now=now, body=body, secrets=[new, old])
        client.webhooks.verify_signature(body, headers, secret=new)
        client.webhooks.verify_signature(body, headers, secret=old)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.verify_signature(body, headers, secret=new_secret())
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.verify_signature(body + b" ", headers, secret=new)


class TestSecrets:
    def test_form(self) -> None:
        secret = new_secret()
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
        assert secret != new_secret()
        assert secret_hint(secret) == f"whsec_...{secret[-4:]}"

    def test_the_old_one_signs_until_its_rotation_ends(self) -> None:
        sealer, now = Sealer(bytes(32)), dt.datetime.now(dt.UTC)
        endpoint = WebhookEndpoint(
            id="we_1",
            secret_encrypted=seal_secret(sealer, "we_1", "new"),
            old_secret_encrypted=seal_secret(sealer, "we_1", "old"),
            old_secret_expires_at=now + dt.timedelta(seconds=1),
        )
        assert active_secrets(sealer, endpoint, now=now) == ["new", "old"]
        assert active_secrets(sealer, endpoint, now=now + dt.timedelta(seconds=1)) == ["new"]


class TestSealer:
    @given(st.binary(max_size=200), st.text(max_size=20))
    def test_opens_what_it_sealed(self, plain: bytes, context: str) -> None:
        sealer = Sealer(bytes(range(32)))
        sealed = sealer.seal(plain, context=context)
        assert sealer.open(sealed, context=context) == plain
        assert sealed != sealer.seal(plain, context=context)

    def test_refuses_another_row_another_key_and_changed_bytes(self) -> None:
        sealer = Sealer(bytes(32))
        sealed = sealer.seal(b"secret", context="row:1")
        assert b"secret" not in sealed
        with pytest.raises(DecryptionFailed):
            sealer.open(sealed, context="row:2")
        with pytest.raises(DecryptionFailed):
            Sealer(bytes([1] * 32)).open(sealed, context="row:1")
        for position in range(len(sealed)):
            changed = bytearray(sealed)
            changed[position] ^= 1
            with pytest.raises(DecryptionFailed):
                sealer.open(bytes(changed), context="row:1")
        for length in range(len(sealed)):
            with pytest.raises(DecryptionFailed):
                sealer.open(sealed[:length], context="row:1")


class TestEvents:
    def test_the_body_is_an_event(self) -> None:
        now = dt.datetime.fromtimestamp(1_790_000_000.7, dt.UTC)
        body = event_body(
            "evt_1", type="file.error", subject="file-1", data={"id": "other", "status": "error"}, now=now
        )
        assert json.loads(body) == {
            "object": "event",
            "id": "evt_1",
            "type": "file.error",
            "created_at": 1_790_000_000,
            "data": {"id": "file-1", "status": "error"},
        }

    def test_an_unknown_type_is_a_defect(self) -> None:
        with pytest.raises(ValueError, match="catalogue"):
            event_body("evt_1", type="job.done", subject="x", data={}, now=dt.datetime.now(dt.UTC))

    @pytest.mark.parametrize("type", EVENT_TYPES)
    def test_every_type_has_a_sample(self, type: str) -> None:
        assert json.loads(sample_body("evt_1", type=type, now=dt.datetime.now(dt.UTC)))["type"] == type
