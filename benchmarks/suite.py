"""The whole suite: one command, one table.

    python benchmarks/suite.py -o results              # all sections, about an hour
    python benchmarks/suite.py -o results --quick      # each with a few calls, to see that it works
    python benchmarks/suite.py -o results --only C4 --again

Each section is a script of this folder in a process of its own, so that none disturbs another and
one that fails is a line in the table. What was measured is kept in the folder as SECTION.json; a
section that is there already is not measured again (--again does). At the end suite.json and
suite.md hold them all. Peers' own code is not part of it: name commands that print such rows with
--peer NAME="COMMAND", and their licences are yours to keep.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rounds import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
TIMEOUT_S = 3 * 3600
NOTHING = "-"


@dataclass(frozen=True)
class Section:
    """script and its arguments; quick: those that replace them where it need only be seen to work.

    threads: the script takes --threads.
    """

    id: str
    title: str
    script: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    threads: bool = False


FEW = ("--rounds", "1")
SECTIONS = (
    Section("C1", "StyleGAN2's synthesis", "networks.py", ("--only", "C1", "--compile"),
            ("--only", "C1", *FEW), True),
    Section("C2", "AdaIN on one core", "adain_cpu.py", (), FEW),
    Section("C3", "StarGAN v2 and AdaIN transfer", "networks.py", ("--only", "C3", "--compile"),
            ("--only", "AdaIN", *FEW), True),
    Section("C4", "The projection step of the demo", "projection_step.py", ("--compile",), FEW,
            True),
    Section("C4-vgg", "The projection step of the demo's generator with VGG features",
            "projection_step.py", ("--vgg", str(ROOT / "export/zoo/vgg/vgg.safetensors"),
            "--compile"), ("--vgg", str(ROOT / "export/zoo/vgg/vgg.safetensors"), *FEW), True),
    Section("C4-reference", "The projection step of the reference sizes", "projection_step.py",
            ("--grad-step", "--compile"), ("--grad-step", *FEW), True),
    Section("C5", "The Gatys step", "gatys.py", ("--random", "vgg19"),
            ("--random", "small", "--size", "64", "--steps", "2", *FEW), True),
    Section("C6", "Feature networks", "networks.py", ("--only", "C6", "--compile"),
            ("--only", "iresnet50", *FEW), True),
    Section("C7", "Mixing codes", "mixing.py", (), FEW),
    Section("C7-fused", "One pass against its chain", "fused.py", ("--json",),
            ("--json", *FEW)),
    Section("D1", "Graphs, counted", "deterministic.py", ("--compiled",), ("--bundle", "embedder")),
    Section("import", "What an import costs", "import_cost.py", (), FEW),
    Section("start", "From nothing to the first face", "first_face.py", (),
            ("--count", "1", "--backend", "ort")),
)  # fmt: skip


def command(section: Section, options: argparse.Namespace) -> list[str]:
    arguments = list(section.quick if options.quick else section.arguments)
    if section.threads:
        arguments += ["--threads", str(options.threads)]
    json_too = [] if "--json" in arguments else ["--json"]
    return [sys.executable, str(HERE / section.script), *arguments, *json_too]


def run(words: Sequence[str]) -> dict[str, Any]:
    """Run a command that prints a line of JSON a row; what fails is kept as an error."""
    began = time.perf_counter()
    folders = [str(ROOT / name) for name in ("sdk", "engines", "export")]
    known = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*folders, *known])}
    error = ""
    try:
        done = subprocess.run(
            list(words), capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
        )
        output = done.stdout
        if done.returncode:
            error = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout.decode() if isinstance(expired.stdout, bytes) else ""
        error = f"not done after {TIMEOUT_S} s"
    lines = list(_records(output))
    return {
        "command": " ".join(shlex.quote(word) for word in _public(words)),
        "machine": next((line["machine"] for line in lines if set(line) == {"machine"}), ""),
        "rows": [line for line in lines if set(line) != {"machine"}],
        "remarks": [line[2:] for line in output.splitlines() if line.startswith("# ")],
        "seconds": round(time.perf_counter() - began, 1),
        "error": error,
    }


def _public(words: Sequence[str]) -> list[str]:
    """The command as anyone types it, without this machine's paths."""
    return ["python" if w == sys.executable else w.replace(f"{ROOT}/", "") for w in words]


def _records(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.startswith("{"):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


def collected(options: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Measure what is not there yet, and keep it."""
    folder = options.output
    wanted = [s for s in SECTIONS if not options.only or s.id in options.only]
    works = [(s.id, s.title, command(s, options)) for s in wanted]
    for peer in options.peer or ():
        name, _, words = peer.partition("=")
        works.append((f"peer-{name}", f"Peer: {name}", shlex.split(words)))
    for name, title, words in works:
        path = folder / f"{name}.json"
        kept = json.loads(path.read_text()) if path.exists() and not options.again else None
        if kept is None or kept["error"] or kept["quick"] != options.quick:
            print(f"{name}: {title} ...", file=sys.stderr, flush=True)
            kept = run(words) | {"title": title, "quick": options.quick}
            part = path.with_suffix(".part")
            part.write_text(json.dumps(kept, indent=1) + "\n")
            part.replace(path)
            said = kept["error"] or f"{len(kept['rows'])} rows"
            print(f"{name}: {said}, {kept['seconds']} s", file=sys.stderr, flush=True)
        yield name, title, kept


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as Markdown; columns are the names that occur, in their order."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {n for n in names if all(isinstance(r.get(n), int | float | None) for r in rows)}
    head = "| " + " | ".join(name.replace("_", " ") for name in names) + " |"
    rule = "| " + " | ".join("---:" if name in numeric else "---" for name in names) + " |"
    body = ["| " + " | ".join(shown(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join([head, rule, *body])


def shown(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return str(value)


def losses(rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Where the fastest of mien's is slower than the fastest of PyTorch at the same work.

    None where no rows can be held against each other.
    """
    found, seen = [], False
    key = ("what", "batch", "precision")
    for group in dict.fromkeys(tuple(row.get(k) for k in key) for row in rows):
        alike = [row for row in rows if tuple(row.get(k) for k in key) == group]
        sides = [[r for r in alike if kind(r) == side and time_of(r)] for side in ("ours", "torch")]
        if not all(sides):
            continue
        seen = True
        one, other = (min(side, key=time_of) for side in sides)
        if time_of(one) > time_of(other):
            what = ", ".join(str(value) for value in group if value is not None)
            times = f"{one['who']} takes {time_of(one) / time_of(other):.2f} times {other['who']}'s"
            found.append(f"{what}: {times}")
    return found if seen else None


def kind(row: Mapping[str, Any]) -> str:
    who = str(row.get("who", ""))
    if who in ("ort", "ov", "ov-bf16") or who.startswith("mien"):
        return "ours"
    return "torch" if who.startswith("torch") else ""


def time_of(row: Mapping[str, Any]) -> float:
    """A row's median, in whichever unit; 0 where it has none."""
    return float(row.get("median_ms") or row.get("median_us") or 0.0)


def page(sections: Mapping[str, Mapping[str, Any]], where: str) -> str:
    parts = ["# The suite", where]
    if any(found["quick"] for found in sections.values()):
        parts.append("**Quick: a few calls each, to see that it works. No figure here counts.**")
    for name, found in sections.items():
        parts.append(f"## {name}: {found['title']}")
        parts.append(f"    {found['command']}")
        parts.append(f"{found['machine']}; {found['seconds']} s")
        if found["error"]:
            parts.append(f"Failed: {found['error']}")
        parts += found["remarks"]
        if found["rows"]:
            parts.append(table(found["rows"]))
            slower = losses(found["rows"])
            if slower is not None:
                parts.append("Slower than PyTorch: " + ("; ".join(slower) or "none") + ".")
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder, kept")
    parser.add_argument("--only", action="append", choices=[s.id for s in SECTIONS])
    parser.add_argument("--quick", action="store_true", help="a few calls each")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", action="append", help='NAME="COMMAND" that prints JSON rows')
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    sections = {name: found for name, _, found in collected(options)}
    where = machine("torch", "onnxruntime", "openvino", "numpy")
    record = {"machine": where, "sections": sections}
    (options.output / "suite.json").write_text(json.dumps(record, indent=1) + "\n")
    text = page(sections, where)
    (options.output / "suite.md").write_text(text)
    print(text)
    failed = [name for name, found in sections.items() if found["error"]]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
