"""Every check has a file in `examples/broken/` that breaks it, as `tunegate check` sees it."""

import json
from pathlib import Path

import pytest

from cli.main import app
from service.datasets.checks import CHECKS

BROKEN = Path(__file__).parents[2] / "examples" / "broken"
NOT_SHIPPED = {"file_too_large", "line_too_long", "image_too_large", "too_many_values"} | {
    "limit_reached",
    "not_checked",
    "template_cannot_render",
}
"""Too large to ship, or not found by a file's content alone but by a worker, or by the template of an open model."""

OLD_MODEL = {"over_token_limit", "answer_cut_off"}


def arguments_for(code: str) -> list[str]:
    folder = BROKEN / code
    if folder.is_dir():
        return [str(folder / "train.jsonl"), "--validation", str(folder / "valid.jsonl")]
    [file] = BROKEN.glob(f"{code}.*")
    return [str(file), *(["--model", "gpt-3.5-turbo-0613"] if code in OLD_MODEL else [])]


@pytest.mark.parametrize("code", sorted(set(CHECKS) - NOT_SHIPPED))
def test_the_file_breaks_the_check(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = app(["check", *arguments_for(code), "--json"], exit_on_error=False, result_action="return_value")
    report = json.loads(capsys.readouterr().out)
    if (BROKEN / code).is_dir():
        assert code in [finding["code"] for finding in report["leakage"]["findings"]]
        assert status == 1
    else:
        assert report["counts"][code] > 0
        assert status == (1 if report["errors"] else 0)
        assert report["errors"] or CHECKS[code].severity != "error"


def test_nothing_else_lies_there() -> None:
    shown = {path.stem for path in BROKEN.iterdir()} - {"README"}
    assert shown == set(CHECKS) - NOT_SHIPPED
