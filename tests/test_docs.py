"""The documents against the program: README, CHANGELOG, FORMAT.md and the samples say what is so."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from mitmproxy.addons.script import ScriptLoader
from mitmproxy.options import Options
from mitmproxy.test import taddons
from mitmproxy.tools import cmdline
from ruamel.yaml import YAML

from sse_tap import __version__
from sse_tap.cli import main
from sse_tap.replay.faults import FAULTS
from sse_tap.tap.addon import SSETap
from sse_tap.tap.replay_addon import SSEReplay
from sse_tap.verdict.judge import Verdict

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
FORMAT = (ROOT / "recordings" / "FORMAT.md").read_text("utf-8")
SAMPLES = ROOT / "recordings" / "samples"
HELD = [str(SAMPLES / f"held-{tap}.sse.jsonl") for tap in ("origin", "edge")]

# Options that README names and that are other programs'.
FOREIGN = {"--cacert": "curl", "--connect-to": "curl", "--mode": "mitmproxy"}


# --- reading Markdown -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language ("" without) and its text."""

    language: str
    text: str


def fences(text: str) -> list[Fence]:
    return [Fence(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def without_fences(text: str) -> str:
    return re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Code in running text, as one line each."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", without_fences(text))]


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$\n", text, re.MULTILINE)
    assert found, f"no section {title!r}"
    rest = text[found.end() :]
    over = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: over.start()] if over else rest


def first_cells(text: str) -> list[str]:
    """The code in the first column of the tables in a text, row by row."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


# --- the program --------------------------------------------------------------------------------------------


@cache
def verbs() -> dict[str, click.Command]:
    context = click.Context(main)
    found = {name: main.get_command(context, name) for name in main.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def long_options() -> set[str]:
    """Every `--option` of every verb, and the group's own."""
    commands = [main, *verbs().values()]
    names = {opt for command in commands for parameter in command.params for opt in parameter.opts}
    return {name for name in names if name.startswith("--")} | {"--help"}


def own_options(addon: object) -> dict[str, object]:
    """The mitmproxy options that an addon brings: name -> default."""
    with taddons.context(addon) as context:
        found = context.options.items()
    return {name: option.default for name, option in found if name.startswith("sse_tap_")}


def command_lines() -> Iterator[list[str]]:
    """What README tells one to type, in its fenced blocks, as words."""
    for fence in fences(README):
        if fence.language == "":
            for line in fence.text.replace("\\\n", " ").splitlines():
                yield words(line)


def words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a picture or output with a lone quote
        return []


def lines_of(program: str) -> list[list[str]]:
    return [line[1:] for line in command_lines() if line[:1] == [program]]


def mentions_of(program: str) -> list[list[str]]:
    """Command lines in running text, which may leave out what does not matter there."""
    return [line[1:] for line in map(words, spans(README)) if line[:1] == [program] and len(line) > 1]


def parse(arguments: list[str]) -> None:
    """Have click read a command line of sse-tap, and run nothing. Raises UsageError."""
    name, *rest = arguments
    if name not in verbs():
        raise click.UsageError(f"no verb {name}")
    # With its parent: click keeps a command's help option, whose names are the parent's, from the first time.
    verbs()[name].make_context(name, rest, parent=main.make_context("sse-tap", [], resilient_parsing=True))


def ids(lines: list[list[str]]) -> list[str]:
    return [" ".join(line)[:60] for line in lines]


# --- README: verbs, options, command lines ----------------------------------------------------------------


def test_the_walk_sees_the_program_and_the_document() -> None:
    assert {"record", "hops", "demo"} <= set(verbs())
    assert {"--tap", "--min-hold", "--fault"} <= long_options()
    assert len(lines_of("sse-tap")) >= 10
    assert len(MITMDUMP) >= 3


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_in_the_readme(verb: str) -> None:
    assert re.search(rf"\bsse-tap {verb}\b|`{verb}`", README)


def test_every_long_option_in_the_readme_is_there() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", README))
    assert named - long_options() - set(FOREIGN) == set()


@pytest.mark.parametrize("arguments", lines_of("sse-tap"), ids=ids(lines_of("sse-tap")))
def test_command_lines_of_ours_are_taken(arguments: list[str]) -> None:
    parse(arguments)


@pytest.mark.parametrize("arguments", mentions_of("sse-tap"), ids=ids(mentions_of("sse-tap")))
def test_command_lines_in_the_text_have_nothing_unknown(arguments: list[str]) -> None:
    with suppress(click.MissingParameter):
        parse(arguments)


def test_a_command_line_with_a_fault_is_not_taken() -> None:
    for wrong in (["hops", "--nonsense", "x"], ["nonsense"], ["record"], ["export", "x", "--to", "y"]):
        with pytest.raises(click.UsageError):
            parse(wrong)


MITMDUMP = [*lines_of("mitmdump"), *mentions_of("mitmdump")]


@pytest.mark.parametrize("arguments", MITMDUMP, ids=ids(MITMDUMP))
def test_command_lines_of_mitmdump_are_taken(arguments: list[str]) -> None:
    with taddons.context(ScriptLoader()) as context:
        given = cmdline.mitmdump(context.options).parse_args(arguments)
    for script in given.scripts or []:
        assert script == "sse_tap" or (ROOT / script).is_file()


def test_command_lines_of_make_have_their_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    wanted = [line[0] for line in lines_of("make")]
    assert {"demo", "test"} <= set(wanted) <= targets


def test_the_command_installed_is_the_one_documented() -> None:
    assert [point.value for point in entry_points(group="console_scripts", name="sse-tap")]


def test_files_that_are_linked_to_are_there() -> None:
    linked = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert linked
    assert [target for target in linked if not (ROOT / target).exists()] == []


def test_the_options_of_the_addon_are_the_table() -> None:
    table = section(README, "Options")
    assert sorted(first_cells(table)) == sorted(own_options(SSETap()))


def test_defaults_in_the_table_are_the_options_own() -> None:
    table = section(README, "Options")
    defaults = own_options(SSETap())
    assert f"(`{defaults['sse_tap_dir']}`)" in table
    assert f"disk ({defaults['sse_tap_queue']})" in table


def test_settings_in_the_readme_are_options_of_ours_or_of_mitmproxys() -> None:
    known = {*own_options(SSETap()), *own_options(SSEReplay()), *Options().keys()}
    named = {name for name in re.findall(r"--set ([A-Za-z_]+)=", README) if name != "NAME"}
    assert named
    assert named - known == set()


# --- README: blocks -----------------------------------------------------------------------------------------


def test_the_compose_file_is_one_and_its_command_line_is_taken() -> None:
    [text] = [fence.text for fence in fences(README) if fence.language == "yaml"]
    services = YAML(typ="safe").load(text)["services"]
    shell = shlex.split(services["tap"]["command"])
    assert shell[:2] == ["sh", "-c"]
    steps = [shlex.split(step) for step in shell[2].split("&&")]
    recording = [step[1:] for step in steps if step[0] == "sse-tap"]
    assert [arguments[0] for arguments in recording] == ["record"]
    parse(recording[0])
    mounted = {volume.split(":")[1] for volume in services["tap"]["volumes"]}
    assert recording[0][recording[0].index("-o") + 1] in mounted
    published = {port.partition(":")[2] for port in services["tap"]["ports"]}
    assert published <= {word.split(":")[1] for word in recording[0] if word.startswith("edge=")}


@pytest.mark.slow
def test_the_example_for_pytest_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = [fence.text for fence in fences(README) if fence.language == "python"]
    (path,) = set(re.findall(r'"(recordings/[^"]+)"', code))
    copy = pytester.path / path
    copy.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / path).read_bytes())
    pytester.makepyfile(code)
    given = [*("-p", "no:cacheprovider"), *([] if is_registered() else ["-p", "sse_tap.pytest_plugin"])]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.runpytest_subprocess(*given).assert_outcomes(passed=code.count("def test_"))


def is_registered() -> bool:
    return bool(entry_points(group="pytest11", name="sse_tap.pytest_plugin"))


def test_the_verdict_quoted_is_what_hops_prints() -> None:
    [quoted] = [fence.text for fence in fences(README) if "  coalesces  " in fence.text]
    printed = CliRunner().invoke(main, ["hops", *HELD, "--width", "160"])
    assert printed.exit_code == 1
    left = [line.rstrip() for line in printed.stdout.splitlines()]
    for line in quoted.splitlines():
        assert line in left, f"not printed, or not in this order: {line!r}"
        left = left[left.index(line) + 1 :]


def test_the_picture_is_what_timeline_draws(tmp_path: Path) -> None:
    drawn = tmp_path / "held.svg"
    arguments = ["timeline", *HELD, "--export", str(drawn), "--width", "100"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert (SAMPLES / "held.svg").read_text("utf-8") == drawn.read_text("utf-8")


# --- README: words ------------------------------------------------------------------------------------------


def test_the_verdicts_of_the_table_are_all_there_are() -> None:
    assert first_cells(section(README, "The verdict")) == [str(verdict) for verdict in Verdict]


def test_the_faults_listed_are_all_there_are() -> None:
    replay = section(README, "Replay")
    listed = re.search(r"^Faults .*?\. ", replay, re.MULTILINE | re.DOTALL)
    assert listed
    names = [re.split(r"[=\[]", code)[0] for code in re.findall(r"`([^`]+)`", listed[0])]
    assert sorted(name for name in names if not name.startswith("--")) == sorted(FAULTS)


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (0, ["hops", str(SAMPLES / "live-origin.sse.jsonl"), str(SAMPLES / "live-edge.sse.jsonl")]),
        (1, ["hops", *HELD]),
        (2, ["hops", "no-such-folder"]),
        (2, ["hops"]),
    ],
)
def test_the_exit_status_is_the_documented_one(status: int, arguments: list[str]) -> None:
    assert re.search(r"0 fine, 1 something was flagged or differs, 2 wrong usage or unreadable input", README)
    assert CliRunner().invoke(main, arguments).exit_code == status


# --- the samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "verdict"), [("live", "clean"), ("held", "coalesces"), ("gzip", "clean")])
def test_the_samples_are_what_they_are_called(name: str, verdict: str) -> None:
    pair = [str(SAMPLES / f"{name}-{tap}.sse.jsonl") for tap in ("origin", "edge")]
    printed = CliRunner().invoke(main, ["hops", "--all", *pair])
    assert f"origin→edge  {verdict}" in printed.stdout
    assert "1 stream, 1 hop" in printed.stdout


def test_the_samples_are_no_more_than_the_readme_and_the_tests_use() -> None:
    names = {path.name for path in SAMPLES.iterdir()}
    traces = {f"{name}-{tap}.sse.jsonl" for name in ("live", "held", "gzip") for tap in ("origin", "edge")}
    assert names == traces | {"held.svg"}


# --- CHANGELOG and FORMAT.md --------------------------------------------------------------------------------


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version() -> None:
    titles = re.findall(r"^## \[?([^\]\s]+)\]?", CHANGELOG, re.MULTILINE)
    assert titles[0] in ("Unreleased", __version__)
    assert section(CHANGELOG, re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)[0]).strip()


def test_the_changelogs_headings_are_those_of_keep_a_changelog() -> None:
    kinds = set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE))
    assert kinds
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_in_the_changelog(verb: str) -> None:
    assert f"`{verb}`" in CHANGELOG


def note_kinds() -> dict[str, str]:
    """Every kind of note that the source gives a name to, and where."""
    found = {}
    for path in (ROOT / "sse_tap").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and len(node.args) > 1:
                name = getattr(node.func, "attr", getattr(node.func, "id", "")).strip("_")
                kind = node.args[1]
                if name.lower() in ("note", "remark") and isinstance(kind, ast.Constant):
                    found[str(kind.value)] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_the_kinds_of_notes_in_use_stand_in_the_format() -> None:
    documented = set(first_cells(section(FORMAT, "`note`")))
    used = note_kinds()
    assert {"observer-stopped", "informational", "goaway"} <= set(used)
    assert {kind: where for kind, where in used.items() if kind not in documented} == {}
