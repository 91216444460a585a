"""`corral completion`: the script that makes a shell complete verbs, options, ids and signals."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from corral_tui.cli.group import COMPLETION_VARIABLE
from corral_tui.cli.plain import put

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog="\b\nExample: corral completion bash > ~/.local/share/bash-completion/completions/corral",
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash: corral completion bash > ~/.local/share/bash-completion/completions/corral
    zsh:  corral completion zsh > "${fpath[1]}/_corral"
    fish: corral completion fish > ~/.config/fish/completions/corral.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    put(kind(ctx.find_root().command, {}, "corral", COMPLETION_VARIABLE).source())
    return 0
