"""The documents against the program: README, docs/, CHANGELOG, FORMAT.md and the samples say what is so."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
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
from sse_tap.blocks.timing import Seen
from sse_tap.checking.expectations import EXPECTATIONS
from sse_tap.cli import main
from sse_tap.replay.faults import FAULTS
from sse_tap.stats import FIGURES
from sse_tap.tap.addon import SSETap
from sse_tap.tap.replay_addon import SSEReplay
from sse_tap.trace import find_traces, read_trace
from sse_tap.trace.records import MS
from sse_tap.verdict.breaks import break_of
from sse_tap.verdict.judge import FLAGGED, Verdict
from sse_tap.verdict.report import as_json, report_on
from sse_tap.verdict.thresholds import (
    ABORT_LATE,
    BUSY,
    DATA_SILENCE,
    END_LATE,
    EVEN,
    FAR_OVER_LAG,
    LINE_LIMIT,
    LONG,
    MIN_HOLD,
    MOST,
    OVER_LAG,
    REQUEST_HELD,
    SECOND,
    SHARE,
    STALL,
    STEADY,
    TEXT_WIDER,
    TIMES,
    WELL,
)
from tests.markdown import Fence, anchors, fences, first_cells, links, section, spans
from tests.needs import needs
from tests.verdict.ends import WAYS, ended
from tests.words import called, signatures, unnoticed

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
FRONT = ROOT / "README.md"
PAPERS = (FRONT, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")
# What tells people how to use it and how to work on it, by the path from the root.
DOCS = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (*PAPERS, *sorted((ROOT / "docs").glob("*.md")))
}
README = DOCS["README.md"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
FORMAT = (ROOT / "recordings" / "FORMAT.md").read_text("utf-8")
MARKDOWN = DOCS | {"CHANGELOG.md": CHANGELOG, "recordings/FORMAT.md": FORMAT}
SAMPLES = ROOT / "recordings" / "samples"
REPORTS = ROOT / "tests" / "data" / "reports"
HELD = [str(SAMPLES / f"held-{tap}.sse.jsonl") for tap in ("origin", "edge")]

# Options that the documents name and that are other programs'.
FOREIGN = {
    "--cacert": "curl",
    "--include": "rclone",
    "--min-age": "rclone",
    "--connect-to": "curl",
    "--mode": "mitmproxy",
    "--retry": "curl",
    "--dripping": "make soak",
    "--idle": "make soak",
    "--runs": "make stack",
    "--serve": "make stack",
    "--retry-connrefused": "curl",
    "--trace": "curl",
    "--trace-time": "curl",
    "--wait": "docker compose",
}
# The modules whose names are for everybody: `docs/api.md` lists them.
PUBLIC = ("sse_tap.sse", "sse_tap.trace", "sse_tap.replay", "sse_tap.pytest_plugin")
README_LINES = 150


def page(name: str) -> str:
    """A page of docs/."""
    return DOCS[f"docs/{name}.md"]


def all_fences() -> list[Fence]:
    return [fence for text in DOCS.values() for fence in fences(text)]


def all_spans() -> list[str]:
    return [span for text in DOCS.values() for span in spans(text)]


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
    """What the documents tell one to type, in their fenced blocks, as words."""
    for fence in all_fences():
        if fence.language == "":
            for line in fence.text.replace("\\\n", " ").splitlines():
                yield words(line)


def words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a picture or output with a lone quote
        return []


def lines_of(program: str) -> list[list[str]]:
    return unique(line[1:] for line in command_lines() if line[:1] == [program])


def mentions_of(program: str) -> list[list[str]]:
    """Command lines in running text, which may leave out what does not matter there."""
    return unique(line[1:] for line in map(words, all_spans()) if line[:1] == [program] and len(line) > 1)


def unique(lines: Iterable[list[str]]) -> list[list[str]]:
    """Each line once, in their order."""
    return [list(line) for line in dict.fromkeys(map(tuple, lines))]


def parse(arguments: list[str]) -> None:
    """Have click read a command line of sse-tap, and run nothing. Raises UsageError."""
    name, *rest = arguments
    if not rest and any(name in parameter.opts for parameter in main.params):
        return
    if name not in verbs():
        raise click.UsageError(f"no verb {name}")
    # With its parent: click keeps a command's help option, whose names are the parent's, from the first time.
    group = main.make_context("sse-tap", [], resilient_parsing=True)
    with suppress(click.exceptions.Exit):  # asked for help
        verbs()[name].make_context(name, rest, parent=group)


def ids(lines: list[list[str]]) -> list[str]:
    return [" ".join(line)[:60] for line in lines]


# --- verbs, options, command lines --------------------------------------------------------------------------


def test_the_walk_sees_the_program_and_the_document() -> None:
    assert {"record", "hops", "demo"} <= set(verbs())
    assert {"--tap", "--min-hold", "--fault"} <= long_options()
    assert len(lines_of("sse-tap")) >= 10
    assert len(MITMDUMP) >= 3


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_in_the_documents(verb: str) -> None:
    assert re.search(rf"\bsse-tap {verb}\b|`{verb}`", "\n".join(DOCS.values()))


@pytest.mark.parametrize("name", DOCS)
def test_every_long_option_in_the_documents_is_there(name: str) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", DOCS[name]))
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
    wanted = {line[0] for line in [*lines_of("make"), *mentions_of("make")]}
    assert {"demo", "test", "bench", "matrix"} <= wanted
    assert wanted <= targets


def test_the_command_installed_is_the_one_documented() -> None:
    assert [point.value for point in entry_points(group="console_scripts", name="sse-tap")]


def test_the_front_page_is_short() -> None:
    assert len(README.splitlines()) < README_LINES


@pytest.mark.parametrize("name", MARKDOWN)
def test_files_that_are_linked_to_are_there(name: str) -> None:
    folder = (ROOT / name).parent
    linked = [target.partition("#")[0] for target in links(MARKDOWN[name])]
    assert linked or name in ("CHANGELOG.md", "recordings/FORMAT.md")
    assert [target for target in linked if not (folder / target).exists()] == []


@pytest.mark.parametrize("name", MARKDOWN)
def test_places_that_are_linked_to_are_there(name: str) -> None:
    folder = (ROOT / name).parent
    places = [target.partition("#") for target in links(MARKDOWN[name]) if "#" in target]
    texts = {file: (folder / file if file else ROOT / name).read_text("utf-8") for file, _, _ in places}
    assert [(file, place) for file, _, place in places if place not in anchors(texts[file])] == []


def test_every_page_is_reached_from_the_front_page_and_from_the_index() -> None:
    pages = {name.removeprefix("docs/") for name in DOCS if name.startswith("docs/")} - {"README.md"}
    assert pages <= {target.removeprefix("docs/") for target in links(README)}
    assert pages <= set(links(DOCS["docs/README.md"]))


def test_files_that_are_named_are_there() -> None:
    """Paths in code, in running text; a name alone is that of a file beside one named before."""
    tops = {path.name for path in ROOT.iterdir()} - {"recordings"}
    named = {span for span in all_spans() if re.fullmatch(r"[\w./-]+", span) and "/" in span}
    ours = {span for span in named if span.partition("/")[0] in tops}
    assert {"sse_tap/verdict/thresholds.py", "sse_tap/verdict/causes.toml", ".ci/run"} <= ours
    assert {span for span in ours if not (ROOT / span).exists()} == set()


@pytest.mark.parametrize(("title", "addon"), [("Recording", SSETap), ("Replay inside mitmproxy", SSEReplay)])
def test_the_options_of_the_addons_are_the_tables(title: str, addon: type) -> None:
    table = section(page("options"), title)
    assert sorted(first_cells(table)) == sorted(own_options(addon()))


def test_defaults_in_the_tables_are_the_options_own() -> None:
    table = section(page("options"), "Recording")
    defaults = own_options(SSETap())
    assert f"(`{defaults['sse_tap_dir']}`)" in table
    assert f"disk ({defaults['sse_tap_queue']})" in table
    speed = own_options(SSEReplay())["sse_tap_replay_speed"]
    assert f"at once (`{speed}`)" in section(page("options"), "Replay inside mitmproxy")


def test_settings_in_the_documents_are_options_of_ours_or_of_mitmproxys() -> None:
    known = {*own_options(SSETap()), *own_options(SSEReplay()), *Options().keys()}
    text = "\n".join(DOCS.values())
    named = {name for name in re.findall(r"--set ([A-Za-z_]+)=", text) if name != "NAME"}
    assert named
    assert named - known == set()


# --- blocks -------------------------------------------------------------------------------------------------


def yaml_fences() -> list[Fence]:
    return [fence for fence in all_fences() if fence.language == "yaml"]


def test_the_compose_file_is_one_and_its_command_line_is_taken() -> None:
    [text] = [fence.text for fence in yaml_fences() if "\nservices:" in f"\n{fence.text}"]
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


def composer() -> list[str] | None:
    """Docker Compose: by itself or as Docker's plugin; its `config` needs no engine."""
    if program := shutil.which("docker-compose"):
        return [program]
    docker = shutil.which("docker")
    has_it = docker and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    return [docker, "compose"] if docker and has_it else None


@pytest.mark.slow
@needs(composer(), "docker-compose")
def test_docker_compose_takes_the_compose_file(tmp_path: Path) -> None:
    [text] = [fence.text for fence in yaml_fences() if "\nservices:" in f"\n{fence.text}"]
    (tmp_path / "compose.yaml").write_text(text)
    command = [*(composer() or []), "-f", "compose.yaml", "config"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    tap = YAML(typ="safe").load(done.stdout)["services"]["tap"]
    assert "sse-tap record" in str(tap["command"])
    assert "8443" in str(tap["ports"])


def test_the_ci_jobs_commands_are_taken() -> None:
    [job] = [YAML(typ="safe").load(fence.text) for fence in yaml_fences() if "\njobs:" in f"\n{fence.text}"]
    steps = [step for one in job["jobs"].values() for step in one["steps"]]
    lines = [line for step in steps for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    ours = [
        words(line.strip().removesuffix("&"))[1:] for line in lines if line.strip().startswith("sse-tap ")
    ]
    assert [arguments[0] for arguments in ours] == ["record", "check"]
    for arguments in ours:
        parse(arguments)


@pytest.mark.slow
def test_the_examples_for_pytest_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [code for code in PYTHON if "def test_" in code]
    assert len(codes) >= 2
    samples_beside(pytester.path)
    for number, code in enumerate(codes):
        pytester.makepyfile(**{f"test_{number}": code})
    given = [*("-p", "no:cacheprovider"), *([] if is_registered() else ["-p", "sse_tap.pytest_plugin"])]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    count = sum(code.count("def test_") for code in codes)
    pytester.runpytest_subprocess(*given).assert_outcomes(passed=count)


PYTHON = [fence.text for fence in all_fences() if fence.language == "python"]
SCRIPTS = [code for code in PYTHON if "def test_" not in code]


@pytest.mark.parametrize("code", SCRIPTS, ids=range(len(SCRIPTS)))
def test_the_other_examples_run(code: str, tmp_path: Path) -> None:
    assert "assert " in code
    samples_beside(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def samples_beside(folder: Path) -> None:
    """The sample recordings where the examples look for them."""
    (folder / "recordings").mkdir()
    (folder / "recordings" / "samples").symlink_to(SAMPLES)


def is_registered() -> bool:
    return bool(entry_points(group="pytest11", name="sse_tap.pytest_plugin"))


def test_the_verdict_quoted_is_what_hops_prints() -> None:
    [quoted] = [fence.text for fence in all_fences() if "  coalesces  " in fence.text]
    printed = CliRunner().invoke(main, ["hops", *HELD, "--width", "160"])
    assert printed.exit_code == 1
    left = [line.rstrip() for line in printed.stdout.splitlines()]
    for line in quoted.splitlines():
        assert line in left, f"not printed, or not in this order: {line!r}"
        left = left[left.index(line) + 1 :]


def test_the_expectations_quoted_are_what_check_prints() -> None:
    [quoted] = [fence.text for fence in fences(page("check")) if "expectations tested" in fence.text]
    [given] = [span for span in spans(page("check")) if span.startswith("--stream '/chat/*'")]
    printed = CliRunner().invoke(main, ["check", *HELD, *shlex.split(given), "--width", "120"])
    assert printed.exit_code == 1
    assert [line.rstrip() for line in printed.stdout.splitlines()] == quoted.splitlines()


def test_the_picture_is_what_timeline_draws(tmp_path: Path) -> None:
    drawn = tmp_path / "held.svg"
    arguments = ["timeline", *HELD, "--export", str(drawn), "--width", "100"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert (SAMPLES / "held.svg").read_text("utf-8") == drawn.read_text("utf-8")


# --- words --------------------------------------------------------------------------------------------------


def test_the_verdicts_of_the_table_are_all_there_are() -> None:
    table = section(page("verdicts"), "The verdicts")
    assert first_cells(table) == [str(verdict) for verdict in Verdict]
    flagged = [re.search(rf"^\| `{verdict}` \| yes \|", table, re.MULTILINE) for verdict in Verdict]
    assert [bool(found) for found in flagged] == [verdict in FLAGGED for verdict in Verdict]


def test_the_signatures_of_the_tables_are_all_there_are() -> None:
    used = signatures()
    assert {"lookahead", "cut-idle", "first-lost", "error-page", "coding-mismatch", "request-held"} <= used
    documented = set(first_cells(section(page("verdicts"), "Signatures")))
    assert documented == used


def test_every_cause_is_of_a_signature_that_there_is() -> None:
    rules = tomllib.loads((ROOT / "sse_tap" / "verdict" / "causes.toml").read_text("utf-8"))["rule"]
    assert {word for rule in rules for word in rule.get("signatures", ())} <= signatures()


def test_the_signatures_that_cases_tell_of_stand_in_the_tables() -> None:
    cases = [json.loads(path.read_text("utf-8")) for path in sorted(REPORTS.glob("*/case.json"))]
    told = {word for case in cases for word in case["expect"].get("signature", ())}
    assert {"hidden", "mended"} <= told
    assert told <= set(first_cells(section(page("verdicts"), "Signatures")))


# Words with a hyphen in the modules that make findings, which are no kinds of theirs.
NO_KINDS = {
    *("whole-response", "malformed-request", "coding-mismatch", "request-held", "cut-together"),
    *("alt-svc", "last-event-id", "utf-8"),
}


def test_the_findings_of_the_tables_are_all_there_are() -> None:
    """Every kind has a hyphen in it, or is found by its table's word alone."""
    texts = {*signatures("Break"), *unnoticed()} - NO_KINDS
    modules = [path.read_text("utf-8") for path in (ROOT / "sse_tap" / "verdict").glob("*.py")]
    for module in (module for module in modules if "inding(" in module):
        values = {node.value for node in ast.walk(ast.parse(module)) if isinstance(node, ast.Constant)}
        texts |= {value for value in values if isinstance(value, str)}
    kinds = {text for text in texts if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", text)} - NO_KINDS
    kinds |= signatures("Break") | unnoticed()
    documented = set(first_cells(section(page("verdicts"), "Findings")))
    assert kinds - documented - set(first_cells(section(FORMAT, "`note`"))) == set()
    assert documented - texts == set()


def rows_of(table: str) -> list[list[str]]:
    """The rows of the first table in a text, without its head."""
    lines = table[table.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


SAYINGS = rows_of(section(page("verdicts"), "What people say"))


@pytest.mark.parametrize(("said", "told", "_remedy", "case"), SAYINGS, ids=[row[-1] for row in SAYINGS])
def test_what_people_say_is_what_a_recording_shows(said: str, told: str, _remedy: str, case: str) -> None:
    """One hop or one tap of the case has all of it: the verdict and its signature, or the finding's kind."""
    [name] = codes(case)
    seen = [Seen(read_trace(trace)) for trace in find_traces([REPORTS / name])]
    report = as_json(report_on(seen))
    hops = [{hop["verdict"], hop["signature"]} for stream in report["streams"] for hop in stream["hops"]]
    inside = [finding for stream in report["streams"] for finding in stream["findings"]]
    found = [*hops, *({finding["kind"]} for finding in [*inside, *report["findings"]])]
    assert any(set(codes(told)) <= words for words in found), (said, found)


def test_every_flagged_verdict_is_among_what_people_say() -> None:
    assert {str(verdict) for verdict in FLAGGED} <= {code for row in SAYINGS for code in codes(row[1])}


# How the table of endings calls the ways.
CALLED = {
    "ended well": "well",
    "broke off": "broken",
    "left": "left",
    "still running": "running",
    "waited": "running",
}


def ways(cell: str) -> list[str]:
    return [way for name, way in CALLED.items() if name in cell]


ENDINGS = [
    (up, down, row)
    for row in rows_of(section(page("verdicts"), "How a stream ended"))
    for up in ways(row[0])
    for down in ways(row[1])
]


@pytest.mark.parametrize(("up", "down", "row"), ENDINGS, ids=[f"{up}-{down}" for up, down, _ in ENDINGS])
def test_the_table_of_endings_is_what_is_found(up: str, down: str, row: list[str]) -> None:
    """With the times that the row names, and with the second ones that stand behind a semicolon."""
    cell, _, more = row[2].partition("; ")
    for where, meaning in ((row[1], cell), (more, more)):
        apart = next((s for words, s in APART if re.search(words, where)), 0.0)
        early, late = 9350.0, 9350.0 + 1000 * abs(apart) + 100
        m = ended(up, down, *((late, early) if apart < 0 else (early, late if apart else early)))
        found = break_of(m)
        if where:
            assert (found.signature in codes(meaning)) if found else ("fine" in meaning), (where, found)


APART = ((r"1 s before", -1.0), (r"told over 1 s later", -1.0), (r"over 2 s (later|before|after)", 2.0))


def test_the_table_of_endings_has_every_pair() -> None:
    both = {(up, down) for up, down, _ in ENDINGS} | {("running", "running")}
    assert both == {(up, down) for up in WAYS for down in WAYS}
    assert (ABORT_LATE, END_LATE) == (SECOND, 2 * SECOND)


def test_the_numbers_of_the_tables_are_those_of_the_thresholds() -> None:
    tables = page("verdicts")
    assert f"over {REQUEST_HELD // MS} ms through the hop" in tables
    assert f"was {LINE_LIMIT >> 10} KiB or larger" in tables
    assert f"for {DATA_SILENCE // SECOND} s or longer" in tables


def test_the_limits_of_the_table_are_those_of_the_thresholds() -> None:
    table = section(page("verdicts"), "When it is inconclusive")
    assert f"--min-hold` of {MIN_HOLD // MS} ms" in table
    rows = dict(re.findall(r"^\| (.*?) \| (.*?) \|$", table, re.MULTILINE))
    limit = MIN_HOLD // MS
    assert rows["one single pause"] == f"{LONG * limit} ms"
    assert rows["three pauses or more that hold a tenth of the blocks"] == f"{LONG * limit} ms together"
    assert rows["half of the blocks or more were held"] == f"{WELL * limit} ms, the longest hold"
    assert (TIMES, SHARE, MOST, BUSY, STALL * limit) == (3, 0.1, 0.5, 0.03, 1000)
    assert (OVER_LAG, FAR_OVER_LAG, STEADY, EVEN, TEXT_WIDER) == (2, 5, 0.9, 2 * MS, 3)


def test_the_expectations_of_the_table_are_all_there_are() -> None:
    listed = first_cells(section(page("check"), "Expectations"))
    assert [name.removeprefix("--").partition(" ")[0] for name in listed] == [*EXPECTATIONS]


def test_the_figures_of_the_table_are_all_there_are() -> None:
    assert first_cells(section(page("check"), "The figures of many streams")) == [*FIGURES]


def test_the_faults_of_the_table_are_all_there_are() -> None:
    listed = first_cells(section(page("replay"), "Faults"))
    assert listed == [kind.usage for kind in FAULTS.values()]


@pytest.mark.parametrize(
    ("title", "verb", "option"), [("Export", "export", "--to"), ("Import", "import", "--from")]
)
def test_the_formats_of_the_tables_are_the_options_choices(title: str, verb: str, option: str) -> None:
    [choice] = [one.type for one in verbs()[verb].params if option in one.opts]
    assert isinstance(choice, click.Choice)
    named = first_cells(section(page("formats"), title))
    assert [name for name in named if not name.startswith("--")] == list(choice.choices)


def test_the_keys_of_the_report_are_the_tables() -> None:
    report = json.loads(CliRunner().invoke(main, ["hops", "--json", *HELD]).stdout)
    text = section(page("formats"), "The report as JSON")
    assert set(spans(text.partition("Of each")[0])) >= report.keys()
    [stream] = report["streams"]
    for title, found in {
        "stream": [stream],
        "tap": stream["taps"],
        "hop": stream["hops"],
        "finding": stream["findings"],
    }.items():
        table = text.partition(f"Of each {title}:\n")[2].partition("Of each")[0]
        assert all(set(first_cells(table)) == one.keys() for one in found), title


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_the_tables(module: str) -> None:
    names = import_module(module).__all__
    assert names == sorted(names)
    assert sorted(first_cells(section(page("api"), f"`{module}`"))) == names


@pytest.mark.parametrize("module", PUBLIC)
def test_what_is_public_says_what_it_is(module: str) -> None:
    home = import_module(module)
    public = [(name, getattr(home, name)) for name in home.__all__]
    things = [(name, thing) for name, thing in public if inspect.isclass(thing) or inspect.isroutine(thing)]
    for name, thing in public:
        things += [
            (f"{name}.{part}", value)
            for part, value in (vars(thing) if inspect.isclass(thing) else {}).items()
            if not part.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))
        ]
    assert home.__doc__
    assert things
    assert [name for name, thing in things if not inspect.getdoc(thing)] == []


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
    meanings = {0: "fine", 1: "something was flagged or differs", 2: "wrong usage or unreadable input"}
    assert f"| `{status}` | {meanings[status]}" in section(page("options"), "Exit status")
    assert CliRunner().invoke(main, arguments).exit_code == status


UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "s": 1, "h": 3600}


def test_the_limits_of_the_page_are_the_programs() -> None:
    """`| what | 64 MiB | what happens | `module:CONSTANT` |`."""
    rows = re.findall(
        r"^\| [^|]* \| (\d+) ?(\w*) \| [^|]* \| `([\w.]+):(\w+)` \|$", page("limits"), re.MULTILINE
    )
    assert len(rows) >= 30
    assert page("limits").count("| `sse_tap.") == len(rows)
    for number, unit, module, constant in rows:
        assert getattr(import_module(module), constant) == int(number) * UNITS[unit], constant


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
                kind = node.args[1]
                if called(node).lower() in ("note", "remark") and isinstance(kind, ast.Constant):
                    found[str(kind.value)] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_the_kinds_of_notes_in_use_stand_in_the_format() -> None:
    documented = set(first_cells(section(FORMAT, "`note`")))
    used = note_kinds()
    assert {"observer-stopped", "informational", "goaway"} <= set(used)
    assert {kind: where for kind, where in used.items() if kind not in documented} == {}


# --- what sources say of documents --------------------------------------------------------------------------


def sources() -> list[Path]:
    """What is written by hand beside the documents, but for this file."""
    folders = ("sse_tap", "tests", "benchmarks", "addons", ".ci", ".github")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    files += [ROOT / name for name in ("Makefile", "pyproject.toml", "hatch_build.py")]
    text = {".py", ".toml", ".mjs", ".js", ".html", ".yml", ""}
    return [path for path in files if path.suffix in text and path != Path(__file__)]


def cited() -> Iterator[tuple[str, str]]:
    """Every name of a document in the sources, and where it stands."""
    for path in sources():
        here = re.sub(r"https?://\S+", "", path.read_text("utf-8"))
        names = re.findall(r"[\w./-]*\w\.md\b", here)
        yield from ((name, path.relative_to(ROOT).as_posix()) for name in names)


def test_documents_that_sources_cite_are_there() -> None:
    known = {*MARKDOWN, *(Path(name).name for name in MARKDOWN)}
    found = list(cited())
    assert ("docs/verdicts.md", "sse_tap/verdict/verdicts.py") in found
    assert [(name, where) for name, where in found if name not in known] == []
