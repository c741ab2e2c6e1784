"""`pr2 train reward-server`: one reward model for all workers of a training."""

from pathlib import Path
from typing import Annotated

import typer

from server.access.exposure import is_loopback
from server.cli.errors import BadInput, as_cli_errors
from server.cli.serve import address_of, bound, listen


def reward_server(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Reward model of pr2 train reward-model.", show_default=False),
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on, 0 for any free port.")] = 8003,
    device: Annotated[
        str | None, typer.Option("--device", help="cuda, cuda:1, cpu, …; default: a GPU, if there is one.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines in (--host): there is no token.")
    ] = False,
) -> None:
    """Serve a reward model to a training: POST /v1/scores and GET /healthz, until a signal.

    Start it before pr2 train policy on a folder that was prepared with --reward prlm.
    """
    with as_cli_errors(), bound(host, port) as listener:
        address, taken, *_ = listener.getsockname()
        if not (insecure or is_loopback(address)):
            raise BadInput(
                f"other machines can reach {address}, and this server has no token: keep it on this "
                "machine, or let them in with --insecure, on a private network"
            )
        import uvicorn

        from training.reward_model.model import load_reward_model
        from training.reward_model.serving import create_app

        model = load_reward_model(folder, device=device)
        server = uvicorn.Server(uvicorn.Config(create_app(model), log_level="warning", ws="none"))
        # From here on connections wait for the server rather than being refused.
        listen(listener)
        typer.echo(f"reward model {model.fingerprint[:12]} at {address_of(host, taken)}")
        server.run(sockets=[listener])
