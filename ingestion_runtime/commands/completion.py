"""``ingestion completion``: commands, options and table names, completed by the shell."""

import click

from ingestion_runtime.commands.names import PROGRAM, VARIABLE, register_shells


@click.command(short_help="Print the script by which a shell completes commands, options and table names.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options and table names.

    \b
    bash   ingestion completion bash > ~/.local/share/bash-completion/completions/ingestion
    zsh    ingestion completion zsh > "${fpath[1]}/_ingestion"
    fish   ingestion completion fish > ~/.config/fish/completions/ingestion.fish

    Table names come from the file that --config names on the line, lists of them piece by piece.
    """
    from click.shell_completion import get_completion_class

    register_shells()
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - one of the choices
    click.echo(found(context.find_root().command, {}, PROGRAM, VARIABLE).source(), nl=False)
