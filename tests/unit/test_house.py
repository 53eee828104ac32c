"""The rules of the house that no linter knows. Each says what to do instead; CONTRIBUTING.md says why.

OVERSIZED may only shrink: an entry that is no longer needed, or larger than what it allows, fails as well.
"""

import ast
import collections
import dataclasses
import functools
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "services" / "bloomweaver"

MODULE_LINES = 400
FUNCTION_LINES = 40
PORT_LINES = 120
RECIPE_LINES = 3

# "path" or "path:function" → lines that it may have until somebody splits it.
OVERSIZED = {
    "services/bloomweaver/ports/ledger.py": 244,
    "services/bloomweaver/ports/registry.py": 150,
}

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc", "shared"}

# Modules of the standard library that reach outside the process, or whose answer changes from call to call.
IMPURE_MODULES = {
    "asyncio", "concurrent", "http", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil",
    "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip

# What a clock, a source of chance or a pause looks like; ports/clock.py brings them in where they are needed.
UNINJECTED = re.compile(
    r"time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|sleep|gmtime|localtime)"
    r"|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    r"|random\.\w+|secrets\.\w+|uuid\.uuid[1-7]|os\.urandom"
)
# At the process's edge the real clock is read and injected.
EDGES = ("adapters", "runtime", "cli", "allinone", "testing")

# Written apart, so that this file does not contain what it looks for.
HOSTS = re.compile(
    "|".join(
        re.escape(host)
        for host in (
            "pypi" + ".org", "files.python" + "hosted", "npmjs" + ".", "proxy.golang" + ".org",
            "sum.golang" + ".org", "deb.debian" + ".org", "crates" + ".io", "repo.maven" + ".apache",
        )
    )
)  # fmt: skip
MACHINE_PATHS = re.compile(r"(?<![\w.\-}$)])/(?:work|root|tmp|home/\w+)/")
UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + r"ME|XX" + r"X)\b|\bissue #?\d+\b", re.IGNORECASE)
UNEXPLAINED = re.compile(
    r"[#] type: ignore(?!\[[\w, -]+\](?:  #| -)? \w)"
    r"|[#] noqa(?!: [A-Z]+\d+(?:, ?[A-Z]+\d+)*(?:  #| -)? (?![A-Z]+\d)\w)"
)


def modules(*folders: str) -> list[pathlib.Path]:
    return sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py"))


def all_modules() -> list[pathlib.Path]:
    return modules(".")


def inner_modules() -> list[pathlib.Path]:
    return [path for path in all_modules() if path.relative_to(PACKAGE).parts[0] not in EDGES]


def python_tests() -> list[pathlib.Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What the rules ask of a module, found in one walk. functions: (name, lines). attributes, calls: (dotted, line).

    imports: (module, name) for each; name is None in `import module`. top: names of its own functions.
    """

    lines: int
    functions: list[tuple[str, int]]
    attributes: list[tuple[str, int]]
    calls: list[tuple[str, int]]
    imports: list[tuple[str, str | None]]
    top: list[str]


@functools.cache
def facts(path: pathlib.Path) -> Facts:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    top = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = Facts(len(text.splitlines()), [], [], [], [], top)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions.append((node.name, (node.end_lineno or node.lineno) - node.lineno + 1))
        elif isinstance(node, ast.Attribute):
            found.attributes.append((dotted(node), node.lineno))
        elif isinstance(node, ast.Call):
            found.calls.append((dotted(node.func), node.lineno))
        elif isinstance(node, ast.Import):
            found.imports.extend((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.imports.extend((node.module, alias.name) for alias in node.names)
    return found


@pytest.fixture(autouse=True, scope="module")
def _read_once() -> None:
    """What is read grows with the project; no single test is to be blamed for it."""
    for path in (*all_modules(), *python_tests()):
        facts(path)


def name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.AST) -> str:
    """`a.b.c` for an attribute chain, else empty."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr}"
    return ""


def tracked() -> list[pathlib.Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not run: not a git checkout, so nothing says which files belong to the project")
    return [path for part in listing.split("\0") if part and (path := ROOT / part).is_file()]


def matches(pattern: re.Pattern[str], paths: list[pathlib.Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{name(path)}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    return found


def test_modules_functions_and_ports_stay_small_enough_to_read():
    sizes = {name(path): facts(path).lines for path in all_modules() if facts(path).lines > MODULE_LINES}
    sizes |= {name(path): facts(path).lines for path in modules("ports") if facts(path).lines > PORT_LINES}
    for path in all_modules():
        sizes |= {f"{name(path)}:{who}": size for who, size in facts(path).functions if size > FUNCTION_LINES}
    assert {key: size for key, size in sizes.items() if size > OVERSIZED.get(key, 0)} == {}, "split by decision"
    assert {key for key in OVERSIZED if key not in sizes} == set(), "no longer oversized: take it off the list"


def test_every_module_says_in_its_name_what_it_is_about():
    assert [name(path) for path in all_modules() if path.stem in EMPTY_NAMES or path.parent.name in EMPTY_NAMES] == []


def test_only_one_module_reads_the_environment():
    readers = {
        f"{name(path)}:{line}"
        for path in all_modules()
        for attribute, line in facts(path).attributes
        if attribute in {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    }
    assert {
        reader for reader in readers if not reader.startswith("services/bloomweaver/runtime/environment.py:")
    } == set()
    assert [name(path) for path in all_modules() if ("os", "environ") in facts(path).imports] == []


def test_clock_and_chance_are_injected():
    used = [
        f"{name(path)}:{line}: {attribute}"
        for path in inner_modules()
        for attribute, line in facts(path).attributes
        if UNINJECTED.fullmatch(attribute)
    ]
    assert used == [], "take it from ports/clock.py, as an argument"


def test_the_domain_imports_nothing_but_itself_and_the_pure_standard_library():
    foreign = [
        f"{name(path)}: {module}"
        for path in modules("domain")
        for module, _ in facts(path).imports
        if not module.startswith("bloomweaver.domain")
        and (module.partition(".")[0] not in sys.stdlib_module_names or module.partition(".")[0] in IMPURE_MODULES)
    ]
    assert foreign == []


def test_our_own_code_is_imported_by_module_so_that_a_reader_sees_where_a_name_is_from():
    by_name = [
        f"{name(path)}: from {module} import {what}"
        for path in all_modules()
        for module, what in facts(path).imports
        if module.startswith("bloomweaver.")
        and not module.startswith("bloomweaver.domain.")  # its nouns are the vocabulary of everything else
        and what
        and (ROOT / "services" / (module.replace(".", "/") + ".py")).exists()
    ]
    assert by_name == []


def test_no_test_patches_by_mock_or_sleeps_by_the_clock():
    mocking = [
        name(path) for path in python_tests() if any(module.startswith("unittest") for module, _ in facts(path).imports)
    ]
    assert mocking == [], "use a memory adapter; if that cannot do it, a port is missing"
    sleeping = [
        f"{name(path)}:{line}"
        for path in python_tests()
        if path.is_relative_to(ROOT / "tests" / "unit")
        for called, line in facts(path).calls
        if called == "time.sleep"
    ]
    assert sleeping == [], "inject the clock"


def test_two_tests_of_one_module_never_share_a_name():
    for path in python_tests():
        counted = collections.Counter(facts(path).top)
        assert [key for key, number in counted.items() if number > 1] == [], name(path)


def test_an_ignored_complaint_says_which_and_why():
    python = [path for path in tracked() if path.suffix == ".py"]
    assert matches(UNEXPLAINED, python) == [], "name the code, then `  # ` and the reason"


@pytest.mark.parametrize(
    ("comment", "bare"),
    [
        ("noqa", True),
        ("noqa: BLE001", True),
        ("noqa: BLE001, S101", True),
        ("noqa: BLE001  # the loop goes on", False),
        ("noqa: BLE001, S101 - the loop goes on", False),
        ("type: ignore", True),
        ("type: ignore[misc]", True),
        ("type: ignore[misc, index]  # the point of the test", False),
    ],
)
def test_a_reason_is_told_from_its_absence(comment: str, bare: bool):
    assert bool(UNEXPLAINED.search(f"x = 1  # {comment}")) is bare


def test_nothing_is_left_for_later():
    assert matches(UNFINISHED, tracked()) == []


def test_nothing_names_a_package_index_or_a_path_of_one_machine():
    assert matches(HOSTS, tracked()) == []
    assert matches(MACHINE_PATHS, tracked()) == []


def test_a_make_recipe_is_short_enough_to_be_typed():
    blocks = re.split(r"\n(?!\t)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    recipes = {block.partition(":")[0]: block.count("\n\t") for block in blocks}
    assert {target: number for target, number in recipes.items() if number > RECIPE_LINES} == {}, "make it a script"
