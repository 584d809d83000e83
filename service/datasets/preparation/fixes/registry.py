"""Every fix by the name that checks use, in the order in which they run.

Fixes of encodings, line ends and tables have no function here: the readers apply them, since the rows cannot be read
otherwise.
"""

from __future__ import annotations

from service.datasets.preparation.fixes import completion_file, completion_rows, functions, keys, messages, texts
from service.datasets.preparation.fixes.duplicates import drop_duplicates
from service.datasets.preparation.fixes.kinds import FileFix, RowFix
from service.datasets.preparation.fixes.over_limit import drop_over_limit
from service.datasets.preparation.fixes.wrong_decodings import repair_mojibake

READING_FIXES = (
    "reencode_utf8",
    "strip_bom",
    "normalize_newlines",
    "strip_nul_bytes",
    "drop_blank_lines",
    "json_to_jsonl",
    "table_to_jsonl",
    "convert_shape",
    "drop_unreadable",
)

ROW_FIXES: dict[str, RowFix] = {
    "move_known_keys": keys.move_known_keys,
    "inline_reasoning": keys.inline_reasoning,
    "drop_unknown_keys": keys.drop_unknown_keys,
    "drop_extra_columns": keys.drop_extra_columns,
    "drop_metadata": keys.drop_metadata,
    "functions_to_tools": functions.functions_to_tools,
    "repair_mojibake": repair_mojibake,
    "restore_escapes": texts.restore_escapes,
    "strip_invisible": texts.strip_invisible,
    "mask_secrets": texts.mask_secrets,
    "mask_personal_data": texts.mask_personal_data,
    "strip_filler_openings": texts.strip_filler_openings,
    "drop_empty_messages": messages.drop_empty_messages,
    "drop_trailing_messages": messages.drop_trailing_messages,
}

REMOVING_FIXES = frozenset({"drop_unknown_keys", "drop_extra_columns", "drop_metadata", "drop_trailing_messages"})
"""Fixes of rows that leave out values; the preparation counts these as unused."""

FILE_FIXES: dict[str, FileFix] = {
    "drop_duplicates": drop_duplicates,
    "strip_common_prefix": completion_file.strip_common_prefix,
    "lowercase": completion_file.lowercase,
    "add_separator": completion_file.add_separator,
    "add_ending": completion_file.add_ending,
    "add_leading_space": completion_rows.add_leading_space,
    "drop_long_rows": completion_rows.drop_long_rows,
    "drop_over_limit": drop_over_limit,
}
