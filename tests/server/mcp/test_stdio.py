"""`pr2 mcp`: the same tools over pipes."""

import asyncio
import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from mcp import Client, MCPError, StdioServerParameters, types
from typer.testing import CliRunner

from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server.cli.mcp import mcp
from server.mcp.tools import Added, Answered, Found
from server.settings import Settings
from tests.server.mcp.served import (
    ROOT,
    TOOLS,
    introduce,
    read,
    said,
)


@dataclass
class Seen:
    """Results that one assistant got through `pr2 mcp`."""

    arguments: dict[str, list[str]] = field(default_factory=dict)
    template: str = ""
    results: list[types.CallToolResult] = field(default_factory=list)
    document: Any = None
    refusals: list[str] = field(default_factory=list)
    steps: list[str | None] = field(default_factory=list)
    noise: list[Exception] = field(default_factory=list)


async def assist(data: Path, user: str | None) -> Seen:
    seen = Seen()

    async def on_message(message: Any) -> None:
        if isinstance(message, Exception):
            seen.noise.append(message)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.steps.append(message)

    program = "import typer; from server.cli.mcp import mcp; typer.run(mcp)"
    flags = ["--user", user] if user else ["--policy", "extractive"]
    environment = {"PYTHONPATH": str(ROOT), "PR2_DATA": str(data), "HF_HUB_OFFLINE": "1"}
    process = StdioServerParameters(
        command=sys.executable, args=["-c", program, *flags], env=environment, cwd=data
    )
    whose = {} if user else {"user": "ana"}
    other = {"user": "ben", "query": "favourite food"}
    documents = "pr2://documents/" if user else "pr2://users/ana/documents/"
    # One of each era.
    async with Client(process, mode="legacy" if user else "auto", message_handler=on_message) as client:
        for tool in (await client.list_tools()).tools:
            seen.arguments[tool.name] = list(tool.input_schema["properties"])
        [template] = (await client.list_resource_templates()).resource_templates
        seen.template = template.uri_template
        new = {"id": "n1", "text": "My sister collects old maps."}
        question = "What does my sister collect?"
        seen.results = [
            await client.call_tool("add_documents", {**whose, "documents": [new]}),
            await client.call_tool("search_profile", {**whose, "query": "sister", "k": 1}),
            await client.call_tool(
                "answer_question", {**whose, "question": question}, progress_callback=on_progress
            ),
            await client.call_tool("search_profile", other),
        ]
        seen.document = await read(client, f"{documents}n1")
        for absent in ("b1", "a/b"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(f"{documents}{absent}")
            seen.refusals.append(caught.value.message)
    return seen


@pytest.fixture(scope="module")
def assisted(tmp_path_factory: pytest.TempPathFactory, minilm: SentenceTransformerEncoder) -> list[Seen]:
    """Two concurrent assistants on separate stores: one for all users, one for Ana alone."""

    async def both() -> list[Seen]:
        return list(
            await asyncio.gather(*(assist(data, user) for data, user in zip(folders, users, strict=True)))
        )

    users = (None, "ana")
    folders = [tmp_path_factory.mktemp("mcp") for _ in users]
    for data in folders:
        store = Store(Settings(data=data).url, minilm.manifest)
        introduce(Profiles(store, minilm))
        store.close()
    return asyncio.run(both())


def test_an_assistant_can_do_the_same_over_a_pipe(assisted: list[Seen]) -> None:
    for seen in assisted:
        added, found, answered, _ = seen.results
        assert Added.model_validate(added.structured_content).put == 1
        assert Found.model_validate(found.structured_content).passages[0].document_id == "n1"
        answer = Answered.model_validate(answered.structured_content)
        assert ("n1", "My sister collects old maps.") in {(c.document_id, c.quote) for c in answer.citations}
        assert "searching: What does my sister collect?" in seen.steps
        assert seen.document == {"id": "n1", "text": "My sister collects old maps."}
        assert "'ana' has no document 'b1'" in seen.refusals[0]
        assert "there is no resource" in seen.refusals[1]
        assert seen.noise == []


def test_without_a_user_the_assistant_names_one_each_time(assisted: list[Seen]) -> None:
    seen, _ = assisted
    assert list(seen.arguments) == TOOLS
    assert {arguments[0] for arguments in seen.arguments.values()} == {"user"}
    assert seen.template == "pr2://users/{user}/documents/{document_id}"
    assert "octopus" in said(seen.results[-1])


def test_with_a_user_the_tools_work_for_nobody_else(assisted: list[Seen]) -> None:
    _, seen = assisted
    assert list(seen.arguments) == TOOLS
    assert all("user" not in arguments for arguments in seen.arguments.values())
    assert seen.template == "pr2://documents/{document_id}"
    assert seen.results[-1].is_error
    assert "user: field is not permitted" in said(seen.results[-1])


def test_what_keeps_it_from_starting_is_said_in_one_line_on_stderr(
    tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    app = typer.Typer()
    app.command()(mcp)
    other = Store(Settings(data=tmp_path).url, dataclasses.replace(minilm.manifest, name="other"))
    other.open()
    other.close()
    for flags, words in (
        (["--user", ".."], "'..' cannot be an id"),
        (["--data", str(tmp_path)], "made with the encoder other"),
    ):
        result = CliRunner().invoke(app, flags)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1
