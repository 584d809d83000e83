"""`tunegate completion SHELL`: prints the completion script of a shell."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the script by which a shell completes commands.

    For bash: eval "$(tunegate completion bash)" in ~/.bashrc. For zsh and fish, write it to a file of the shell's
    completions.

    Parameters
    ----------
    shell
        The shell.
    """
    from cli.main import app

    print(app.generate_completion(shell=shell), end="")
