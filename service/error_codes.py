"""Every stable error code with its status, meaning and remedy. `docs/errors.md` is generated from it.

Codes that occur only in a job's `error` have no status. An upstream's refusal keeps the upstream's code.
"""

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """The HTTP status (None: only in a job's `error`), the meaning, and the remedy."""

    status: int | None
    meaning: str
    remedy: str


ERROR_CODES: dict[str, ErrorCode] = {
    "answers_too_large": ErrorCode(
        None,
        "The answers of a generation or comparison exceed 128 MB, each JSON value counted as 64 bytes more.",
        "Request fewer examples, or shorter answers.",
    ),
    "api_key_expired": ErrorCode(400, "An expired key cannot be changed.", "Create a new one."),
    "api_key_not_found": ErrorCode(404, "No such key in this project or organisation.", "List the keys."),
    "budget_exceeded": ErrorCode(
        None, "A run's next call may exceed its `budget`.", "Set a higher one; finished results are kept."
    ),
    "budget_required": ErrorCode(
        400,
        "The model is billed by the GPU-second, and nothing is known yet of the speed of such a job.",
        "Send `budget`, in dollars: it is reserved, and the job is cancelled when it has cost as much.",
    ),
    "budget_too_small": ErrorCode(
        400, "An experiment's `budget` is below the upper price of its cheapest arm.", "Set a higher one."
    ),
    "checkpoint_permission_not_found": ErrorCode(
        404, "No such permission for this model.", "List the model's permissions."
    ),
    "columns_not_guessed": ErrorCode(
        None, "No column's name says that it holds the question or the answer.", "Give `columns` or `prompt_template`."
    ),
    "concurrency_limit_exceeded": ErrorCode(
        429,
        "The project has as many inference calls in progress as it may have in this process.",
        "Wait for some to end; the SDK retries.",
    ),
    "conflict": ErrorCode(409, "The resource is in a state that does not allow this.", "Retrieve it, then decide."),
    "conflicting_api_keys": ErrorCode(
        401, "The request has two different keys, in `Authorization` and `api-key`.", "Send one of them."
    ),
    "conflicting_parameters": ErrorCode(400, "Two fields mean the same, or exclude each other.", "Send one of them."),
    "dataset_generation_not_found": ErrorCode(404, "No such generation in this project.", "Check the id."),
    "delimiter_not_guessed": ErrorCode(
        None, "Two delimiters fit a table and give different columns.", "Give `delimiter`; the message shows both."
    ),
    "duplicate_part": ErrorCode(400, "`part_ids` names a part twice.", "Name each once, in the order of the file."),
    "dataset_preparation_not_found": ErrorCode(404, "No such preparation in this project.", "List your preparations."),
    "encoding_uncertain": ErrorCode(
        None, "Two encodings read the input of a preparation differently and about as well.", "Give `encoding`."
    ),
    "endpoint_shut_down": ErrorCode(404, "The old fine-tunes API.", "Call `/v1/fine_tuning/jobs`."),
    "experiment_crashed": ErrorCode(
        None, "An experiment's step failed several times by a defect in Tunegate.", "Create it again, or ask for help."
    ),
    "experiment_not_cancellable": ErrorCode(400, "The experiment has ended.", "There is nothing to cancel."),
    "experiment_not_found": ErrorCode(404, "No such experiment in this project.", "List your experiments."),
    "file_in_use": ErrorCode(
        409, "A job or preparation that has not ended needs the file, or it is being read.", "The message names it."
    ),
    "file_not_found": ErrorCode(404, "No such file in this project (400 where a body names it).", "List your files."),
    "file_too_large": ErrorCode(413, "The file is over the limit.", "Split it, or ask for a higher limit."),
    "evaluation_limit_exceeded": ErrorCode(
        None,
        "A grader, or a tool's schema, took more time or memory on an answer than an evaluation may.",
        "The message names it; simplify its schema or pattern.",
    ),
    "fine_tune_not_found": ErrorCode(404, "No such job in this project.", "List your jobs."),
    "forbidden_upstream_target": ErrorCode(
        400, "The base URL leads to a private or reserved address.", "Use a public https URL, or ask an administrator."
    ),
    "forbidden_webhook_target": ErrorCode(
        400, "The URL leads to a private or reserved address.", "Use a public https URL."
    ),
    "header_too_large": ErrorCode(
        431, "The URL and headers have too many bytes, or there are too many headers.", "The message has the limits."
    ),
    "idempotency_key_reused": ErrorCode(
        422, "The Idempotency-Key was used with another body.", "Use a fresh key for a new request."
    ),
    "insufficient_permissions": ErrorCode(
        403,
        "The key is valid, but of the wrong kind, read-only, or without a role.",
        "The message says what the call needs.",
    ),
    "insufficient_quota": ErrorCode(
        429,
        "The upper price exceeds the remaining budget.",
        "Use fewer epochs, a smaller `max_completion_tokens`, or ask for a higher limit.",
    ),
    "internal_error": ErrorCode(500, "A defect in Tunegate.", "Quote the x-request-id to the platform team."),
    "invalid_api_key": ErrorCode(401, "The key is unknown, revoked or expired.", "Ask for a new one."),
    "invalid_character": ErrorCode(
        400, "A text contains a character that cannot be stored (NUL, or half of a surrogate pair).", "Remove it."
    ),
    "invalid_content_type": ErrorCode(
        400, "The body has a type that the call does not accept.", "Send JSON, or multipart/form-data for a file."
    ),
    "invalid_cursor": ErrorCode(400, "The cursor is not an id of the list.", "Pass the `last_id` of the last page."),
    "invalid_file_format": ErrorCode(
        400,
        "The file's format does not fit the method or the model, or a comparison's example has too many JSON values.",
        "See the report's `format`, or shorten the example that the message names.",
    ),
    "invalid_grader": ErrorCode(
        400, "A grader's options are invalid: a pattern, a schema, or a repeated name.", "The message says which."
    ),
    "invalid_idempotency_key": ErrorCode(400, "The key is empty or over 255 characters.", "Use a UUID."),
    "invalid_input_file": ErrorCode(
        None, "The input of a preparation cannot be read, or no row of it can be used.", "The message names the rows."
    ),
    "invalid_json": ErrorCode(
        400, "The body is not JSON, or has too many values or levels.", "The message says where, or has the limit."
    ),
    "invalid_multipart": ErrorCode(400, "The multipart body is malformed or cut short.", "Send it again."),
    "invalid_purpose": ErrorCode(400, "The purpose cannot be uploaded.", "Training data is `fine-tune`."),
    "invalid_request": ErrorCode(400, "The request could not be read.", "The message says why."),
    "invalid_signature": ErrorCode(
        401,
        "A webhook to `/v1/upstreams/{id}/events` is not signed with the account's secret, or too old.",
        "Give the account the upstream's `webhook_secret`.",
    ),
    "invalid_tools": ErrorCode(400, "`tools` are not function definitions.", "The message says why; `param` where."),
    "invalid_training_file": ErrorCode(
        400,
        "The training file has errors, or too few examples.",
        "See the file's report; upload a fixed file.",
    ),
    "invalid_type": ErrorCode(400, "A field has the wrong JSON type.", "The message names the type."),
    "invalid_validation_file": ErrorCode(400, "The validation file has errors.", "See the file's report."),
    "invalid_upstream_url": ErrorCode(400, "The base URL is not valid for an upstream.", "The message says why."),
    "invalid_value": ErrorCode(400, "A field's value is not allowed.", "The message names the allowed values."),
    "invalid_webhook_url": ErrorCode(400, "The URL is not valid for a webhook.", "The message says why."),
    "job_not_cancellable": ErrorCode(400, "The job has ended.", "There is nothing to cancel."),
    "job_not_pausable": ErrorCode(400, "The job has ended.", "There is nothing to pause."),
    "job_not_resumable": ErrorCode(400, "The job has ended.", "Create a new one."),
    "last_admin_key": ErrorCode(
        409, "No valid admin key that may change anything would remain.", "Create another one first."
    ),
    "md5_mismatch": ErrorCode(
        400, "The joined parts have another MD5.", "Check their order, or send a damaged part again."
    ),
    "memory_limit_exceeded": ErrorCode(
        429,
        "The project's bodies and answers in progress have as many bytes as they may have in this process.",
        "Wait for some to end, or send fewer or smaller bodies at a time; the SDK retries.",
    ),
    "metadata_key_empty": ErrorCode(400, "A key of `metadata` is empty.", "Name it."),
    "metadata_key_too_long": ErrorCode(400, "A key of `metadata` has over 64 characters.", "Shorten it."),
    "metadata_too_many_pairs": ErrorCode(400, "`metadata` has over 16 pairs.", "Leave some out."),
    "metadata_value_too_long": ErrorCode(400, "A value of `metadata` has over 512 characters.", "Shorten it."),
    "method_not_allowed": ErrorCode(405, "The route does not allow this HTTP method.", "See `/docs`."),
    "missing_api_key": ErrorCode(
        401, "The request has neither `Authorization: Bearer KEY` nor `api-key: KEY`.", "Set OPENAI_API_KEY."
    ),
    "missing_required_parameter": ErrorCode(400, "A required field is missing.", "`param` names it."),
    "model_alias_has_no_earlier": ErrorCode(
        409, "The alias has had no earlier model.", "Promote a model, or name a `version` of its history."
    ),
    "model_alias_model_gone": ErrorCode(
        409, "The model of that version was deleted.", "Name another `version` of the alias's history."
    ),
    "model_alias_moved": ErrorCode(
        409, "The alias points at another model than `expected_model`.", "Check its history, then decide again."
    ),
    "model_alias_name_taken": ErrorCode(
        409,
        "An alias of the project already has the name (400: a base model has it).",
        "Promote it, or choose another name.",
    ),
    "model_alias_not_found": ErrorCode(404, "No such alias in this project.", "GET /v1/model_aliases."),
    "model_alias_version_not_found": ErrorCode(400, "The alias has no such earlier version.", "See its history."),
    "model_comparison_not_found": ErrorCode(404, "No such comparison in this project.", "Check the id."),
    "model_in_use": ErrorCode(409, "The model is still in use.", "The message names its users."),
    "model_not_deletable": ErrorCode(
        409, "Base models and aliases cannot be deleted as models.", "Delete tuned models only."
    ),
    "model_not_deployed": ErrorCode(
        400, "The model has no deployment at its account.", "Name one in the account's `deployments`."
    ),
    "model_not_found": ErrorCode(404, "No such model for this project (400 at a job's create).", "GET /v1/models."),
    "model_not_trainable": ErrorCode(400, "The upstream accepts no new jobs for the model.", "Choose a listed model."),
    "no_arm_succeeded": ErrorCode(
        None, "No arm of an experiment has succeeded.", "See each arm's `reason` and its job's error."
    ),
    "not_found": ErrorCode(404, "No such resource for this caller.", "Check the id."),
    "nothing_generated": ErrorCode(
        None, "No response of a generation could be used.", "See `outcome.dropped`; change the prompts or the model."
    ),
    "part_not_found": ErrorCode(
        400, "`part_ids` names a part that the upload does not have.", "Send the ids that adding the parts returned."
    ),
    "preparation_crashed": ErrorCode(
        None, "A preparation ended early several times.", "Try a smaller file, or ask for help."
    ),
    "preparation_limit_exceeded": ErrorCode(
        None,
        "A preparation needs more memory or processor time than a dataset may.",
        "The message names the limit; split the file.",
    ),
    "preparation_not_cancellable": ErrorCode(400, "The preparation has ended.", "There is nothing to cancel."),
    "project_archived": ErrorCode(400, "The project is archived.", "Use or create another one."),
    "project_deleted": ErrorCode(400, "The project is deleted or being deleted.", "Use another project."),
    "project_not_archived": ErrorCode(409, "Only an archived project can be deleted.", "Archive it first."),
    "project_not_found": ErrorCode(404, "No such project.", "List the projects."),
    "quote_expired": ErrorCode(400, "The quote is older than 24 hours.", "Request a new one."),
    "quote_mismatch": ErrorCode(400, "The quote was made for another job.", "Request one for this job."),
    "quote_not_found": ErrorCode(400, "No such quote in this project.", "Request one."),
    "rate_limit_not_found": ErrorCode(404, "No such rate limit in this project.", "List its rate limits."),
    "rate_limit_exceeded": ErrorCode(429, "Too many requests.", "Wait for `Retry-After`."),
    "report_pending": ErrorCode(
        409, "The file's report for the model is being made.", "Repeat the request in a second."
    ),
    "request_in_flight": ErrorCode(409, "The same request is being processed.", "Try again in a moment."),
    "request_timeout": ErrorCode(408, "The request did not arrive in time.", "Send it again."),
    "request_too_large": ErrorCode(413, "The body is too large.", "Send a smaller body."),
    "run_crashed": ErrorCode(
        None, "A generation or comparison ended early several times.", "Request fewer examples, or ask for help."
    ),
    "run_not_cancellable": ErrorCode(400, "The generation or comparison has ended.", "There is nothing to cancel."),
    "service_account_not_found": ErrorCode(404, "No such service account in this project.", "List them."),
    "service_unavailable": ErrorCode(503, "A dependency is unavailable for a moment.", "Try again."),
    "too_many_arms": ErrorCode(
        400,
        "An experiment has up to 32 arms, which train up to 8 different models.",
        "Give fewer values, or list the combinations that matter.",
    ),
    "too_many_examples": ErrorCode(
        400,
        "A generation requests over 10,000 examples, or a comparison's exceed 64 MB or 2,000,000 JSON values.",
        "Create several, or set a smaller `max_examples`.",
    ),
    "too_many_model_aliases": ErrorCode(400, "The project has the maximum number of aliases.", "Delete one."),
    "too_many_streams": ErrorCode(
        429,
        "The project has the maximum number of open event streams.",
        "Close one. `TUNEGATE_MAX_EVENT_STREAMS` is the limit.",
    ),
    "storage_limit_exceeded": ErrorCode(
        429, "The project's files would exceed its storage limit.", "Delete files, or ask for a higher limit."
    ),
    "too_many_parts": ErrorCode(400, "The upload has 10,000 parts, or twice the announced bytes.", "Create a new one."),
    "spend_alert_not_found": ErrorCode(404, "No such spend alert.", "List them."),
    "spend_limit_not_found": ErrorCode(404, "No spend limit is set.", "POST one to set it."),
    "split_too_large": ErrorCode(None, "A split would leave no training examples.", "Hold back fewer examples."),
    "too_much_unfinished_work": ErrorCode(
        429,
        "The project has the maximum of unfinished preparations, runs or reports.",
        "Wait, or cancel some. `TUNEGATE_MAX_UNFINISHED_WORK` is the limit of preparations and of runs.",
    ),
    "too_many_queued_jobs": ErrorCode(429, "The project's queue is full.", "Wait, or cancel some jobs."),
    "too_many_uploads": ErrorCode(
        429,
        "The project has the maximum number of open uploads.",
        "Complete or cancel some. `TUNEGATE_MAX_OPEN_UPLOADS` is the limit.",
    ),
    "too_many_upstreams": ErrorCode(400, "The project has the maximum number of upstream accounts.", "Delete one."),
    "too_many_webhook_endpoints": ErrorCode(400, "The project has the maximum number of endpoints.", "Delete one."),
    "training_token_limit_exceeded": ErrorCode(
        429,
        "The job may train more tokens than the project has left this month.",
        "Use fewer epochs or examples, or ask for a higher limit.",
    ),
    "unknown_column": ErrorCode(
        None, "`columns` or `prompt_template` names a column that the file lacks.", "The message lists its columns."
    ),
    "unknown_event_type": ErrorCode(400, "No such event type.", "GET /v1/webhook_event_types."),
    "unknown_sheet": ErrorCode(None, "The workbook has no sheet of that name.", "The message lists its sheets."),
    "unknown_fix": ErrorCode(400, "No such fix.", "The message lists them, and so does docs/checks.md."),
    "unknown_parameter": ErrorCode(400, "An unknown field or query parameter.", "`param` names it."),
    "unknown_url": ErrorCode(404, "No such route.", "See `/docs`."),
    "unsupported_content_encoding": ErrorCode(
        415, "The body, or a part of it, is compressed or otherwise encoded.", "Send it as it is, without the header."
    ),
    "unsupported_method": ErrorCode(400, "The model cannot be trained by this method.", "The message lists which can."),
    "unsupported_parameter": ErrorCode(400, "A field of OpenAI's API that is not supported here.", "Leave it out."),
    "upload_cancelled": ErrorCode(400, "The upload was cancelled.", "Create a new one."),
    "upload_completed": ErrorCode(
        400, "The upload is already completed, or was completed with other parts.", "Use its file."
    ),
    "upload_expired": ErrorCode(400, "The upload is older than an hour.", "Create a new one."),
    "upload_not_found": ErrorCode(404, "No such upload in this project.", "Check the id."),
    "upload_size_mismatch": ErrorCode(400, "The parts do not add up to the announced `bytes`.", "List every part."),
    "upstream_answer_too_large": ErrorCode(
        502, "The upstream's answer has more bytes, values or levels than it may have.", "Ask for a shorter answer."
    ),
    "upstream_credential_refused": ErrorCode(
        400, "The upstream refuses the credential of an account.", "Check it and the base URL."
    ),
    "upstream_failed": ErrorCode(None, "The upstream ended the job without a reason.", "Create it again."),
    "upstream_from_environment": ErrorCode(
        409, "The environment defines the default account.", "Change the environment, or drain the account."
    ),
    "upstream_in_use": ErrorCode(
        409, "Jobs or tuned models need the upstream account.", "Drain it; wait for the jobs, delete the models."
    ),
    "upstream_job_lost": ErrorCode(None, "The upstream no longer knows the job.", "Create it again; it cost nothing."),
    "upstream_name_taken": ErrorCode(409, "An upstream account has that name.", "Choose another name."),
    "upstream_not_found": ErrorCode(
        404, "No such upstream account for this caller (400 where a body names it).", "List the accounts."
    ),
    "upstream_refused": ErrorCode(None, "The upstream refuses the job.", "The message is the upstream's."),
    "upstream_refused_file": ErrorCode(None, "The upstream refuses a file.", "The message is the upstream's."),
    "upstream_unsupported": ErrorCode(
        400,
        "The upstream that serves the model cannot do this.",
        "`param` names it. Omit it, or use another model.",
    ),
    "upstream_unavailable": ErrorCode(503, "The upstream that serves the model is unavailable.", "Try again."),
    "webhook_delivery_not_found": ErrorCode(
        404, "No such delivery in this project.", "List the endpoint's deliveries."
    ),
    "webhook_event_not_found": ErrorCode(404, "No such webhook event in this project.", "GET /v1/webhook_events."),
    "webhook_endpoint_deleted": ErrorCode(400, "The delivery's endpoint was deleted.", "Create a new endpoint."),
    "webhook_endpoint_disabled": ErrorCode(400, "The endpoint is disabled.", "Update it, which enables it again."),
    "webhook_endpoint_not_found": ErrorCode(404, "No such endpoint in this project.", "List your endpoints."),
    "webhook_target_unreachable": ErrorCode(
        400, "The target of a test did not respond.", "Check the URL and the receiver."
    ),
    "wrong_purpose": ErrorCode(400, "The file has another purpose.", "Upload it with purpose `fine-tune`."),
}
