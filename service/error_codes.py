"""Every stable error code, with its status, what it means and what to do: the one list that docs and tests go by.

Codes in a job's `error` have no status of their own. An upstream's refusal keeps the upstream's code.
"""

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """The HTTP status (None: only in a job's `error`), what it means, and what helps."""

    status: int | None
    meaning: str
    remedy: str


ERROR_CODES: dict[str, ErrorCode] = {
    "api_key_expired": ErrorCode(400, "An expired key cannot be changed.", "Make a new one."),
    "api_key_not_found": ErrorCode(404, "No such key in this project or organisation.", "List the keys."),
    "budget_exceeded": ErrorCode(
        None, "A run's next call may exceed its `budget`.", "Give a higher one; what was made is kept."
    ),
    "checkpoint_permission_not_found": ErrorCode(
        404, "No such permission for this model.", "List the model's permissions."
    ),
    "columns_not_guessed": ErrorCode(
        None, "No column's name says that it holds the question or the answer.", "Give `columns` or `prompt_template`."
    ),
    "conflict": ErrorCode(409, "The thing is in a state that does not allow this.", "Look at it, then decide."),
    "conflicting_parameters": ErrorCode(
        400, "Two fields say the same thing, or do not belong together.", "Give one of them."
    ),
    "dataset_generation_not_found": ErrorCode(404, "No such generation in this project.", "Check the id."),
    "duplicate_part": ErrorCode(400, "`part_ids` names a part twice.", "Name each once, in the order of the file."),
    "dataset_preparation_not_found": ErrorCode(404, "No such preparation in this project.", "List your preparations."),
    "endpoint_shut_down": ErrorCode(404, "The old fine-tunes API.", "Call `/v1/fine_tuning/jobs`."),
    "file_in_use": ErrorCode(
        409, "A job or preparation that has not ended needs the file, or it is being read.", "The message names it."
    ),
    "file_not_found": ErrorCode(404, "No such file in this project (400 where a body names it).", "List your files."),
    "file_too_large": ErrorCode(413, "The file is over the limit.", "Split it, or ask for a higher limit."),
    "fine_tune_not_found": ErrorCode(404, "No such job in this project.", "List your jobs."),
    "forbidden_upstream_target": ErrorCode(
        400, "The base URL leads to a private or reserved address.", "Use a public https URL, or ask an administrator."
    ),
    "forbidden_webhook_target": ErrorCode(
        400, "The URL leads to a private or reserved address.", "Use a public https URL."
    ),
    "idempotency_key_reused": ErrorCode(
        422, "The Idempotency-Key came back with another body.", "Use a fresh key for a new request."
    ),
    "insufficient_permissions": ErrorCode(
        403,
        "The key is valid, but of the wrong kind, read-only, or without a role.",
        "The message says what the call needs.",
    ),
    "insufficient_quota": ErrorCode(
        429,
        "The upper price is over what is left of the budget.",
        "Use fewer epochs, a smaller `max_completion_tokens`, or ask for a higher limit.",
    ),
    "internal_error": ErrorCode(500, "A defect of ours.", "Quote the x-request-id to the platform team."),
    "invalid_api_key": ErrorCode(401, "The key is unknown, revoked or expired.", "Ask for a new one."),
    "invalid_character": ErrorCode(
        400, "A text holds a character that cannot be stored (NUL, or half of a surrogate pair).", "Remove it."
    ),
    "invalid_content_type": ErrorCode(
        400, "The body is of another type than the call takes.", "Send JSON, or multipart/form-data for a file."
    ),
    "invalid_cursor": ErrorCode(400, "`after` names nothing in this list.", "Pass the `last_id` of the page before."),
    "invalid_file_format": ErrorCode(
        400, "The file's format does not fit the method or the model.", "See the report's `format`."
    ),
    "invalid_grader": ErrorCode(
        400, "A grader's options make no sense: a pattern, a schema, or two of one name.", "The message says what."
    ),
    "invalid_idempotency_key": ErrorCode(400, "The key is empty or over 255 characters.", "Use a UUID."),
    "invalid_input_file": ErrorCode(
        None, "The input of a preparation cannot be read, or nothing is left of it.", "The message names the rows."
    ),
    "invalid_json": ErrorCode(400, "The body is not JSON.", "The message says where."),
    "invalid_multipart": ErrorCode(400, "The multipart body is malformed or cut short.", "Send it again."),
    "invalid_purpose": ErrorCode(400, "The purpose cannot be uploaded.", "Training data is `fine-tune`."),
    "invalid_request": ErrorCode(400, "The request could not be read.", "The message says why."),
    "invalid_signature": ErrorCode(
        401,
        "A webhook to `/v1/upstreams/{id}/events` is not signed with the account's secret, or too old.",
        "Give the account the upstream's `webhook_secret`.",
    ),
    "invalid_tools": ErrorCode(400, "`tools` are no definitions of functions.", "The message says why; `param` where."),
    "invalid_training_file": ErrorCode(
        400, "The training file has errors, or too few examples.", "See the file's report, mend it, upload it again."
    ),
    "invalid_type": ErrorCode(400, "A field has the wrong JSON type.", "The message names the type."),
    "invalid_validation_file": ErrorCode(400, "The validation file has errors.", "See the file's report."),
    "invalid_upstream_url": ErrorCode(400, "The base URL cannot be an upstream's.", "The message says why."),
    "invalid_value": ErrorCode(400, "A field is out of its range.", "The message names the range."),
    "invalid_webhook_url": ErrorCode(400, "The URL cannot be a webhook's target.", "The message says why."),
    "job_not_cancellable": ErrorCode(400, "The job has ended.", "Nothing is left to cancel."),
    "job_not_pausable": ErrorCode(400, "The job has ended.", "Nothing is left to pause."),
    "job_not_resumable": ErrorCode(400, "The job has ended.", "Create a new one."),
    "last_admin_key": ErrorCode(
        409, "No admin key that works and may change things would be left.", "Make another one first."
    ),
    "md5_mismatch": ErrorCode(
        400, "The joined parts have another MD5.", "Check their order, or send a damaged part again."
    ),
    "metadata_key_empty": ErrorCode(400, "A key of `metadata` is empty.", "Name it."),
    "metadata_key_too_long": ErrorCode(400, "A key of `metadata` has over 64 characters.", "Shorten it."),
    "metadata_too_many_pairs": ErrorCode(400, "`metadata` has over 16 pairs.", "Leave some out."),
    "metadata_value_too_long": ErrorCode(400, "A value of `metadata` has over 512 characters.", "Shorten it."),
    "method_not_allowed": ErrorCode(405, "The route has other methods.", "See `/docs`."),
    "missing_api_key": ErrorCode(401, "There is no `Authorization: Bearer KEY`.", "Set OPENAI_API_KEY."),
    "missing_required_parameter": ErrorCode(400, "A required field is missing.", "`param` names it."),
    "model_alias_has_no_earlier": ErrorCode(
        409, "The alias has had no earlier model.", "Promote a model, or name a `version` of its history."
    ),
    "model_alias_model_gone": ErrorCode(
        409, "The model of that version was deleted.", "Name another `version` of the alias's history."
    ),
    "model_alias_moved": ErrorCode(
        409, "The alias points at another model than `expected_model`.", "Look at its history, then decide again."
    ),
    "model_alias_name_taken": ErrorCode(
        409, "The name is an alias of the project already (400: a base model's name).", "Promote it, or rename."
    ),
    "model_alias_not_found": ErrorCode(404, "No such alias in this project.", "GET /v1/model_aliases."),
    "model_alias_version_not_found": ErrorCode(400, "The alias has no such earlier version.", "See its history."),
    "model_comparison_not_found": ErrorCode(404, "No such comparison in this project.", "Check the id."),
    "model_in_use": ErrorCode(409, "Something still needs the model.", "The message names what does."),
    "model_not_deletable": ErrorCode(
        409, "Base models and aliases cannot be deleted as models.", "Delete tuned models only."
    ),
    "model_not_deployed": ErrorCode(
        400, "The model has no deployment at its account.", "Name one in the account's `deployments`."
    ),
    "model_not_found": ErrorCode(404, "No such model for this project (400 at a job's create).", "GET /v1/models."),
    "model_not_trainable": ErrorCode(400, "The upstream takes no new jobs for the model.", "Take one that is listed."),
    "not_found": ErrorCode(404, "No such thing for this caller.", "Check the id."),
    "nothing_generated": ErrorCode(
        None, "No answer of a generation could be used.", "See `outcome.dropped`; change the prompts or the model."
    ),
    "part_not_found": ErrorCode(
        400, "`part_ids` names a part that the upload does not have.", "Name what adding them answered."
    ),
    "preparation_crashed": ErrorCode(
        None, "A preparation ended early several times.", "Try a smaller file, or ask for help."
    ),
    "preparation_not_cancellable": ErrorCode(400, "The preparation has ended.", "Nothing is left to cancel."),
    "project_archived": ErrorCode(400, "The project is archived.", "Use or make another one."),
    "project_deleted": ErrorCode(400, "The project is being deleted, or is.", "Use another project."),
    "project_not_archived": ErrorCode(409, "Only an archived project can be deleted.", "Archive it first."),
    "project_not_found": ErrorCode(404, "No such project.", "List the projects."),
    "quote_expired": ErrorCode(400, "The quote is older than 24 hours.", "Ask for a new one."),
    "quote_mismatch": ErrorCode(400, "The quote was made for another job.", "Ask for one for this job."),
    "quote_not_found": ErrorCode(400, "No such quote in this project.", "Ask for one."),
    "rate_limit_not_found": ErrorCode(404, "No such rate limit in this project.", "List its rate limits."),
    "rate_limit_exceeded": ErrorCode(429, "Too many requests.", "Wait for `Retry-After`."),
    "report_pending": ErrorCode(409, "The file is still being checked.", "Ask again when it is `processed`."),
    "request_in_flight": ErrorCode(409, "The same request is being worked on.", "Try again in a moment."),
    "request_too_large": ErrorCode(413, "The body is too large.", "Send less at once."),
    "run_crashed": ErrorCode(
        None, "A generation or comparison ended early several times.", "Ask for less at once, or ask for help."
    ),
    "run_not_cancellable": ErrorCode(400, "The generation or comparison has ended.", "Nothing is left to cancel."),
    "service_account_not_found": ErrorCode(404, "No such service account in this project.", "List them."),
    "service_unavailable": ErrorCode(503, "A dependency is away for a moment.", "Try again."),
    "too_many_examples": ErrorCode(
        400,
        "A generation is to make over 10,000 examples, or those of a comparison have over 64 MB.",
        "Make several, or give a smaller `max_examples`.",
    ),
    "too_many_model_aliases": ErrorCode(400, "The project has its most aliases.", "Delete one."),
    "too_many_streams": ErrorCode(429, "The project has its most event streams open.", "End one of them."),
    "storage_limit_exceeded": ErrorCode(
        429, "The project's files would take more than it may store.", "Delete files, or ask for a higher limit."
    ),
    "too_many_parts": ErrorCode(400, "The upload has 10,000 parts, or twice the announced bytes.", "Make a new one."),
    "spend_alert_not_found": ErrorCode(404, "No such spend alert.", "List them."),
    "spend_limit_not_found": ErrorCode(404, "No spend limit is set.", "POST one to set it."),
    "split_too_large": ErrorCode(None, "A split would leave nothing to train on.", "Hold back fewer examples."),
    "too_many_queued_jobs": ErrorCode(429, "The project's queue is full.", "Wait, or cancel some jobs."),
    "too_many_upstreams": ErrorCode(400, "The project has its most upstream accounts.", "Delete one."),
    "too_many_webhook_endpoints": ErrorCode(400, "The project has its most endpoints.", "Delete one."),
    "training_token_limit_exceeded": ErrorCode(
        429,
        "The job may train more tokens than are left of the project's month.",
        "Use fewer epochs or examples, or ask for a higher limit.",
    ),
    "unknown_column": ErrorCode(
        None, "`columns` or `prompt_template` names a column that the file lacks.", "The message lists its columns."
    ),
    "unknown_event_type": ErrorCode(400, "No such event type.", "GET /v1/webhook_event_types."),
    "unknown_fix": ErrorCode(400, "No such fix.", "The message lists them, and so does docs/checks.md."),
    "unknown_parameter": ErrorCode(400, "A field or query parameter that nobody knows.", "`param` names it."),
    "unknown_url": ErrorCode(404, "No such route.", "See `/docs`."),
    "unsupported_method": ErrorCode(400, "The model cannot be trained by this method.", "The message lists which can."),
    "unsupported_parameter": ErrorCode(400, "A field of OpenAI's that is not offered here.", "Leave it out."),
    "upload_cancelled": ErrorCode(400, "The upload was cancelled.", "Make a new one."),
    "upload_completed": ErrorCode(
        400, "The upload is completed, with other parts if completing it was asked.", "Use its file."
    ),
    "upload_expired": ErrorCode(400, "The upload is older than an hour.", "Make a new one."),
    "upload_not_found": ErrorCode(404, "No such upload in this project.", "Check the id."),
    "upload_size_mismatch": ErrorCode(400, "The parts do not add up to the announced `bytes`.", "Name every part."),
    "upstream_credential_refused": ErrorCode(
        400, "The upstream refuses the credential of an account.", "Check it and the base URL."
    ),
    "upstream_failed": ErrorCode(None, "The upstream ended the job without saying why.", "Create it again."),
    "upstream_from_environment": ErrorCode(
        409, "The default account is described by the environment.", "Change the environment, or drain the account."
    ),
    "upstream_in_use": ErrorCode(
        409, "Jobs or tuned models need the upstream account.", "Drain it; wait for the jobs, delete the models."
    ),
    "upstream_job_lost": ErrorCode(None, "The upstream no longer knows the job.", "Create it again; it cost nothing."),
    "upstream_name_taken": ErrorCode(409, "An upstream account has that name.", "Take another name."),
    "upstream_not_found": ErrorCode(
        404, "No such upstream account for this caller (400 where a body names it).", "List the accounts."
    ),
    "upstream_refused": ErrorCode(None, "The upstream refuses the job.", "The message has its words."),
    "upstream_refused_file": ErrorCode(None, "The upstream refuses a file.", "The message has its words."),
    "upstream_unsupported": ErrorCode(
        400, "The upstream that serves the model cannot do this.", "`param` names it. Leave it out, or take another."
    ),
    "upstream_unavailable": ErrorCode(503, "The upstream that serves the model is away.", "Try again."),
    "webhook_delivery_not_found": ErrorCode(
        404, "No such delivery in this project.", "List the endpoint's deliveries."
    ),
    "webhook_event_not_found": ErrorCode(404, "No such webhook event in this project.", "GET /v1/webhook_events."),
    "webhook_endpoint_deleted": ErrorCode(400, "The delivery's endpoint was deleted.", "Make a new endpoint."),
    "webhook_endpoint_disabled": ErrorCode(400, "The endpoint is disabled.", "Update it, which enables it again."),
    "webhook_endpoint_not_found": ErrorCode(404, "No such endpoint in this project.", "List your endpoints."),
    "webhook_target_unreachable": ErrorCode(
        400, "The target of a test did not answer.", "Check the URL and the receiver."
    ),
    "wrong_purpose": ErrorCode(400, "The file has another purpose.", "Upload it with purpose `fine-tune`."),
}
