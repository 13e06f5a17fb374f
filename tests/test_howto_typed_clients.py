"""docs/how-to/typed-clients.md"""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import docs.examples.howto.typed_clients as typed_clients
import docs.examples.howto.use_typed_client as use_typed_client
from tests.cli.process import ROOT, Terminal, run
from tests.conftest import Serve
from tests.pages import blocks_of
from tests.types.compiler import check, project

EXAMPLES = ROOT / "docs/examples/howto"

#: As they are on the page: each in one line.
COMMANDS = [
    "$ openapi types docs/examples/howto/typed_clients.py:create_app --python docs/examples/howto/orders_client.py",  # noqa: E501
    "$ openapi types docs/examples/howto/typed_clients.py:create_app --typescript docs/examples/howto/orders_client.ts",  # noqa: E501
    "$ openapi types docs/examples/howto/typed_clients.py:create_app --python docs/examples/howto/orders_client.py --check",  # noqa: E501
]


def test_the_files_are_up_to_date() -> None:
    for command in COMMANDS[:2]:
        done = run(*shlex.split(command)[2:], "--check")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_the_commands_say_what_the_page_shows(number: int, tmp_path: Path) -> None:
    shown = blocks_of("typed-clients.md", "console")[number].splitlines()
    assert shown[0] == COMMANDS[number]
    *arguments, option, file = shlex.split(COMMANDS[number].removesuffix(" --check"))[2:]
    elsewhere = str(tmp_path / Path(file).name)
    if "--check" in COMMANDS[number]:
        run(*arguments, option, elsewhere)
        arguments.append("--check")
    with Terminal(*arguments, option, elsewhere, columns=300) as terminal:
        assert terminal.wait() == 0
    assert terminal.text.replace(elsewhere, file).splitlines() == shown[1:]
    written, kept = Path(elsewhere).read_text("utf-8"), (ROOT / file).read_text("utf-8")
    assert written.partition("\n\n")[2] == kept.partition("\n\n")[2]


async def test_the_client_in_python_is_used(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    await use_typed_client.buy(await serve(typed_clients.create_app()) / "orders")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "7 6.00"
    assert re.fullmatch(r"paid \d{4}", shown[1])
    assert shown[2:] == ["tea 3", "tea 2", "tea 1"]


def test_the_client_in_typescript_is_used_as_the_compiler_wants_it(tmp_path: Path) -> None:
    source = (EXAMPLES / "use_typed_client.ts").read_text("utf-8")
    (shown,) = blocks_of("typed-clients.md", "ts")
    assert shown in source
    folder, files = project(tmp_path), ("orders_client.ts", "use_typed_client.ts")
    for name in files:
        shutil.copy(EXAMPLES / name, folder)
    check(folder, *files)
