"""``openapi types``: typed clients of an application."""

import json
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner

from openapi.cli.commands import openapi
from openapi.cli.types import endpoints_of
from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe
from tests.cli.process import COMMAND, ENVIRONMENT, ROOT, Terminal
from tests.types import shop, stock

APP = "tests.types.stock:create_app"


class Listening(WsPathMixin, Subscribe):
    pass


class Speaking(WsPathMixin, Publish):
    async def ws_rpc_subscribe(self, payload: stock.Item) -> None:
        """A method of its own: the mixin of this name is none of its bases"""


def written(*arguments: str, code: int = 0) -> str:
    """What the command says: on stdout if it does well, otherwise on stderr."""
    done = CliRunner().invoke(openapi, ["types", *arguments])
    assert done.exit_code == code, done.output
    said = (done.stdout, done.stderr) if code else (done.stderr, done.stdout)
    assert said[0] == ""
    return said[1]


def test_both_files_are_written_and_the_second_time_nothing(tmp_path: Path) -> None:
    python, typescript = tmp_path / "client.py", tmp_path / "client.ts"
    files = ("--python", str(python), "--typescript", str(typescript))
    said = [json.loads(line) for line in written(APP, *files).splitlines()]
    assert said == [{"file": str(file), "changed": True} for file in (python, typescript)]
    head = python.read_text().partition("\n\n")[0].replace("\\\n#         ", "")
    assert head.startswith("# Written by `openapi types`.")
    assert head.endswith(f"#     openapi types {APP} --python {python}")
    assert "class ShopClient:" in python.read_text()
    assert "export class ShopClient {" in typescript.read_text()
    before = [file.stat().st_mtime_ns for file in (python, typescript)]
    said = [json.loads(line) for line in written(APP, *files).splitlines()]
    assert [each["changed"] for each in said] == [False, False]
    assert [file.stat().st_mtime_ns for file in (python, typescript)] == before


def test_on_a_terminal_it_says_so_in_words(tmp_path: Path) -> None:
    file = tmp_path / "client.py"
    for what in ("is written", "is up to date"):
        with Terminal("types", APP, "--python", str(file), columns=300) as terminal:
            assert terminal.wait() == 0
        assert terminal.text == f"{file} {what}\n"


def test_check_fails_in_one_sentence_where_a_file_is_stale_or_missing(tmp_path: Path) -> None:
    python, typescript = tmp_path / "client.py", tmp_path / "client.ts"
    files = ("--python", str(python), "--typescript", str(typescript))
    again = f"openapi types {APP} --python {python} --typescript {typescript}"
    error = written(APP, *files, "--check", code=1)
    both = f"{python} is missing and {typescript} is missing"
    assert error == f"Error: {both}: write them anew with `{again}`\n"
    assert list(tmp_path.iterdir()) == []
    written(APP, *files)
    said = written(APP, *files, "--check").splitlines()
    assert [json.loads(line)["changed"] for line in said] == [False, False]
    python.write_text(python.read_text() + "\n")
    changed = python.read_text()
    error = written(APP, *files, "--check", code=1)
    again = f"openapi types {APP} --python {python}"
    assert error == f"Error: {python} is stale: write it anew with `{again}`\n"
    assert python.read_text() == changed
    written(APP, *files)
    written(APP, *files, "--check")


def test_other_line_ends_are_no_change(tmp_path: Path) -> None:
    python = tmp_path / "client.py"
    written(APP, "--python", str(python))
    python.write_bytes(python.read_bytes().replace(b"\n", b"\r\n"))
    before = python.read_bytes()
    written(APP, "--python", str(python), "--check")
    written(APP, "--python", str(python))
    assert python.read_bytes() == before


def test_a_path_below_the_working_directory_is_the_same_on_each_machine(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        written(APP, "--python", "client.py")
        for path in ("./client.py", str(tmp_path / "client.py")):
            written(APP, "--python", path, "--check")
    assert f"types {APP} --python client.py\n" in (tmp_path / "client.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((APP,), "nothing is to be written: give --python FILE, --typescript FILE or both"),
        (
            ("examples/no.py:app", "--python", "/nowhere/x.py"),
            "there is no file examples/no.py: give the path of a Python file",
        ),
        (
            ("tests.types.stock:create_nothing", "--python", "/nowhere/x.py"),
            "tests.types.stock:create_nothing has no endpoint: none of its routes is a view that"
            " derives from WsPathMixin",
        ),
        (
            (APP, "--python", "/nowhere/x", "--typescript", "/nowhere/x"),
            "both files are the same: give two",
        ),
    ],
)
def test_a_wrong_use_is_said_in_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    error = written(*arguments, code=2)
    assert error.splitlines()[-1] == f"Error: {sentence}"


def test_an_application_that_fails_says_where() -> None:
    error = written("tests.types.stock:fail", "--python", "/nowhere/x.py", code=1)
    assert error == (
        "Error: tests.types.stock:fail failed: LookupError: no settings"
        f" (tests/types/stock.py, line {_line_of('no settings')})\n"
    )


def _line_of(text: str) -> int:
    lines = (ROOT / "tests/types/stock.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "client.py"
    error = written(APP, "--python", str(missing), code=1)
    assert error == f"Error: {missing} cannot be written: No such file or directory\n"
    error = written(APP, "--python", str(tmp_path), code=1)
    assert error == f"Error: {tmp_path} cannot be read: Is a directory\n"


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text("import sys\n")
    error = written(APP, "--python", str(file), code=1)
    assert error == (
        f"Error: {file} was not written by this command, and is left as it is: give another name,"
        " or move it away\n"
    )
    assert file.read_text() == "import sys\n"
    file.write_text("\n")  # an empty one is nobody's
    written(APP, "--python", str(file))


def test_a_full_standard_output_is_a_failure(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "types", APP, "--python", str(tmp_path / "x.py")],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr


def test_the_endpoints_are_those_of_all_routes() -> None:
    found = endpoints_of(shop.create_app())
    assert [(each.name[-1], each.name[-2], each.paths) for each in found] == [
        ("Silent", "shop", ("/silent",)),
        ("Shop", "stock", ("/shop",)),
        ("Shop", "shop", ("/inner/shop", "/inner/shop/{id}")),
        ("Wrapping", "shop", ("/inner/wrapping",)),
    ]
    its = found[2]
    assert its.doc.endswith('at its end: "shop"')
    assert {"publish", "subscribe", "history"}.isdisjoint(each.name for each in its.methods)
    rules = [each.rule for each in its.channels]
    assert rules == [rule.name for rule in shop.RULES if rule.name not in ("untyped", "secret")]


def test_a_class_has_the_channels_that_its_mixins_let_it_have() -> None:
    app = web.Application()
    key: web.AppKey[SocketsManager] = web.AppKey("key", SocketsManager)
    app[key] = SocketsManager(channels=[ChannelRule("news", data=int, history=1)])
    for view in (Listening, Speaking, shop.Silent):
        view.SOCKETS_KEY = key
        app.router.add_view(f"/{view.__name__}", view)
    listening, speaking, silent = endpoints_of(app)
    (rule,) = listening.channels
    assert (rule.subscribe, rule.publish, rule.history) == (True, False, True)
    (rule,) = speaking.channels
    assert (rule.subscribe, rule.publish, rule.history) == (False, True, True)
    assert [method.name for method in speaking.methods] == ["subscribe"]
    assert silent.channels == ()


def test_one_class_with_other_rules_is_another_endpoint() -> None:
    app = web.Application()
    for number, data in enumerate((int, str)):
        inner = web.Application()
        inner[shop.SOCKETS] = SocketsManager(channels=[ChannelRule("news", data=data)])
        inner.router.add_view("/stream", shop.Wrapping)
        app.add_subapp(f"/{number}", inner)
    first, second = endpoints_of(app)
    assert [each.paths for each in (first, second)] == [("/0/stream",), ("/1/stream",)]
    assert [each.channels[0].data for each in (first, second)] == [int, str]
