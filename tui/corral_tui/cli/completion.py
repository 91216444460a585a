"""`corral completion`: the script with which a shell completes verbs, options, their values, ids and programs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
)

from corral_tui.cli.completion_variable import COMPLETION_VARIABLE
from corral_tui.text.terminal_output import put

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response plain told
    local type value help
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \
%(complete_var)s=zsh_complete ${~words[1]} 2>/dev/null)}")
    for type value help in ${response}; do
        if [[ $type == plain && $help == _ ]]; then
            plain+=("$value")
        elif [[ $type == plain ]]; then
            told+=("$value:$help")
        else
            [[ $PREFIX == --*=* ]] && compset -P 1 '*='
            [[ $type == dir ]] && _path_files -/ || _path_files -f
        fi
    done
    (( $#told )) && _describe -V unsorted told -U
    (( $#plain )) && compadd -U -V unsorted -a plain
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
"""click's, plus files after `--option=` and a `corral` that is not on PATH."""

_FISH = """\
function %(complete_func)s
    set -l words (commandline -opc)
    set -l prefix (string match --regex -- '^--[^=]*=' (commandline -ct))
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) \
COMP_CWORD=(commandline -ct) $words[1] 2>/dev/null)
        set -l item (string split --max 1 -- , $line)
        switch $item[1]
            case dir
                printf '%%s\\n' "$prefix"(__fish_complete_directories $item[2])
            case file
                printf '%%s\\n' "$prefix"(__fish_complete_path $item[2])
            case plain
                echo $item[2]
        end
    end
end

complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""
"""click's, plus commas in help texts, the order, files after `--option=`, and a `corral` that is not on PATH."""


class _WholeWords(ShellComplete):
    """`--state=ru` is one word: its replacement must also start with `--state=`."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        option, equals, _ = incomplete.partition("=")
        found = super().get_completions(args, incomplete)
        if equals and option.startswith("--"):
            for item in found:
                item.value = f"{option}={item.value}" if item.type == "plain" else item.value
        return found


class _Bash(_WholeWords, BashComplete):
    """To bash `--state=ru` is three words, unless COMP_WORDBREAKS was changed."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        if len(args) > 1 and args[-1] == "=" and args[-2].startswith("--"):
            args.pop()
        return args, incomplete


class _Zsh(_WholeWords, ZshComplete):
    source_template = _ZSH


class _Fish(_WholeWords, FishComplete):
    source_template = _FISH


_SHELLS = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def complete(cli: click.Group, instruction: str) -> int:
    """Answer a shell's completion script; `instruction` is for example `bash_complete`."""
    for shell, kind in _SHELLS.items():
        add_completion_class(kind, shell)
    with suppress(click.UsageError):  # unknown verb: nothing to complete
        return shell_complete(cli, {}, "corral", COMPLETION_VARIABLE, instruction)
    return 0


@click.command("completion", epilog="Example: corral completion fish | source")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell. To install it:

    \b
    bash, where the package bash-completion is installed:
      mkdir -p ~/.local/share/bash-completion/completions
      corral completion bash > ~/.local/share/bash-completion/completions/corral

    \b
    zsh, with fpath+=(~/.zfunc) before compinit in ~/.zshrc:
      mkdir -p ~/.zfunc
      corral completion zsh > ~/.zfunc/_corral

    \b
    fish:
      mkdir -p ~/.config/fish/completions
      corral completion fish > ~/.config/fish/completions/corral.fish
    """
    put(_SHELLS[shell](ctx.find_root().command, {}, "corral", COMPLETION_VARIABLE).source())
    return 0
