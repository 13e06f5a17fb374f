"""The compiler of TypeScript, and a project for it with the package ``aio-openapi``."""

import json
import subprocess
from pathlib import Path

from tests.cli.process import ROOT

PACKAGE = ROOT / "clients/js"
TOOLS = PACKAGE / "node_modules/.bin"
OPTIONS = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "noUnusedLocals": True,
    "noUnusedParameters": True,
    "noImplicitReturns": True,
    "verbatimModuleSyntax": True,
    "erasableSyntaxOnly": True,
    "isolatedDeclarations": True,
    "declaration": True,
    "allowImportingTsExtensions": True,
    "target": "ES2022",
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "lib": ["ES2022", "DOM"],
    "types": [],
    "noEmit": True,
}


def project(folder: Path) -> Path:
    """Make a folder a project that has the package, with the types of its sources."""
    assert TOOLS.is_dir(), "run the tests by `make test`, which brings the packages of npm"
    package = folder / "node_modules/aio-openapi"
    package.mkdir(parents=True)
    types = ["--project", str(PACKAGE / "tsconfig.types.json"), "--outDir", str(package / "types")]
    run_tool("tsc", *types, folder=folder)
    description = {"name": "aio-openapi", "type": "module", "types": "./types/index.d.ts"}
    (package / "package.json").write_text(json.dumps(description))
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def check(folder: Path, *files: str) -> None:
    """Have the compiler find nothing in some files of a project."""
    settings = {"compilerOptions": OPTIONS, "files": files}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    run_tool("tsc", "--project", ".", folder=folder)


def run_tool(name: str, *arguments: str, folder: Path) -> None:
    """Run a tool that came with npm, which says nothing if all is well."""
    done = subprocess.run(
        [TOOLS / name, *arguments], capture_output=True, text=True, cwd=folder, timeout=50
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
