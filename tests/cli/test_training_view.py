"""How a training job looks while it runs."""

import io

from rich.console import Console

from cli.training_view import BLOCKS, PLAIN_LINES, sparkline, training_view


class TestSparkline:
    def test_it_falls_with_the_loss(self) -> None:
        assert sparkline([4.0, 2.0, 1.0, 0.0]) == "█▅▃▁"

    def test_many_values_are_averaged_to_the_width(self) -> None:
        drawn = sparkline([1.0] * 500 + [0.0] * 500, width=10)
        assert drawn == BLOCKS[-1] * 5 + BLOCKS[0] * 5

    def test_nothing_and_zeros_are_no_problem(self) -> None:
        assert sparkline([]) == ""
        assert sparkline([0.0, 0.0]) == BLOCKS[0] * 2


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    with training_view(Console(file=out, force_terminal=terminal, width=100)) as view:
        view.status("running")
        for step in range(1, 193):
            view.steps(step=step, total=192, losses=[1 / number for number in range(1, step + 1)])
    return out.getvalue()


def test_a_pipe_gets_a_few_plain_lines() -> None:
    text = shown(terminal=False)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert len(lines) == PLAIN_LINES
    assert lines[-1].startswith("  step  192/192   loss 0.005")


def test_a_terminal_gets_a_bar() -> None:
    text = shown(terminal=True)
    assert "\x1b[" in text
    assert "step 192/192" in text
