"""The goals on an H200, held against what was measured: reached, not reached, or unmeasured.

Of mien's rows the fastest counts whose results were accepted, in any precision; it is named. It is
held against the fastest row of torch's, of any precision, run in the same way, in the same process.
The goals are of plans: ONNX Runtime's rows, `ort-cuda` among them, are shown, and reach none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Row = dict[str, Any]
Results = Mapping[str, Mapping[str, Any]]
COMPILED = " compiled"  # ends the name of the section in which torch is torch.compile
NETWORKS = ("synthesis", "projection", "gatys")
STEPS = ("1 step", "16 steps")
EAGER, COMPILE = 3.0, 1.3
LARGE_MB, SMALL_MB = 64, 1


def goals(results: Results) -> list[Row]:
    """A row for each goal: what was wanted, what was found, by whom. A dry run reaches none."""
    if any(row.get("dry") for row in _rows(results.get("machine"))):
        results = {}
    frames, steps, gatys = (_fastest(results.get(name)) for name in NETWORKS)
    return [
        *_adain(results),
        _goal("StyleGAN2 1024 px, batch 1, a frame on the device", "<= 1 ms", frames,
              lambda ms: (ms <= 1, f"{ms:.3g} ms")),
        _goal("projection step, 1024 px", ">= 425 steps/s", steps,
              lambda ms: (1e3 / ms >= 425, f"{1e3 / ms:.0f} steps/s")),
        _goal("Gatys 512 px, 500 iterations", "<= 0.9 s", gatys,
              lambda ms: (0.5 * ms <= 0.9, f"{0.5 * ms:.3g} s")),
        *(row for name in NETWORKS for row in _against_torch(results, name)),
    ]  # fmt: skip


def rooflines(results: Results) -> list[Row]:
    """How near the best rows come to what the products' operations and bytes must take at least.

    The floor is the longer of operations over the rate of a matrix product and bytes over the
    bandwidth of a copy, both of this run; sums over layers would be higher.
    """
    measured = _rows(results.get("ceilings"))
    copies = [row["gb_per_s"] for row in measured if row.get("mb", 0) > LARGE_MB]
    rates = {row["ceiling"]: row["tflop_per_s"] for row in measured if "tflop_per_s" in row}
    names = {"f32": "product float32", "fp16": "product float16", "bf16": "product bfloat16"}
    found = []
    for name in ("transfer", *NETWORKS):
        for row in _rows(results.get(name)):
            rate = rates.get(names.get(row.get("precision", ""), ""))
            if "p50_ms" not in row or "gflop" not in row or rate is None or not copies:
                continue
            floor = max(row["gflop"] / rate, 1e3 * row["gb"] / max(copies))
            found.append({"section": name, "who": row["who"], "how": row["how"],
                          "floor_ms": floor, "p50_ms": row["p50_ms"],
                          "reached": f"{floor / row['p50_ms']:.0%}"})  # fmt: skip
    return found


def _adain(results: Results) -> Iterable[Row]:
    """Of the kernel alone, in float16. The worst case counts, and a wrong one is not reached."""
    wanted: list[tuple[str, str, Any, Any, Any]] = [
        (f"AdaIN, {LARGE_MB} MB or more", ">= 85 % of a copy",
         lambda r: r["moved_mb"] >= LARGE_MB, lambda r: r.get("of_copy"),
         lambda v: (min(v) >= 0.85, f"{min(v):.0%}")),
        (f"AdaIN, {SMALL_MB} MB or less, replayed", "<= 4 us",
         lambda r: r["moved_mb"] <= SMALL_MB, lambda r: r.get("us"),
         lambda v: (max(v) <= 4, f"{max(v):.3g} us")),
        ("AdaIN beside torch eager", f">= {EAGER} times", lambda r: True,
         lambda r: r.get("times_eager"), lambda v: (min(v) >= EAGER, f"{min(v):.3g} times")),
    ]  # fmt: skip
    plain = [r for r in _rows(results.get("kernels")) if _is_adain(r)]
    compiled = [r for r in _rows(results.get("kernels" + COMPILED)) if _is_adain(r)]
    for name, aim, chosen, value, judged in wanted:
        yield _worst(name, aim, [r for r in plain if chosen(r)], value, judged)
    yield _worst(
        "AdaIN beside torch.compile", f">= {COMPILE} times", compiled,
        lambda r: r.get("times_compiled"), lambda v: (min(v) >= COMPILE, f"{min(v):.3g} times"),
    )  # fmt: skip


def _is_adain(row: Row) -> bool:
    return row.get("kernel") == "adain" and row.get("dtype") == "float16"


def _worst(name: str, wanted: str, rows: list[Row], value: Any, judged: Any) -> Row:
    row = {"goal": name, "wanted": wanted, "state": "unmeasured", "found": "", "by": ""}
    known = [value(r) for r in rows if value(r) is not None]
    wrong = [r for r in rows if "failed" in r]
    if known:
        good, text = judged(known)
        row |= {"state": _state(good and not wrong), "found": text}
        row["by"] = f"the worst of {len(known)} cases"
    if wrong:
        row["state"] = "not reached"
        row["by"] = " ".join(f"{row['by']}; {len(wrong)} failed".lstrip("; ").split())
    return row


def _goal(name: str, wanted: str, best: Row | None, judged: Any) -> Row:
    row = {"goal": name, "wanted": wanted, "state": "unmeasured", "found": "", "by": ""}
    if best is not None:
        good, text = judged(best["p50_ms"])
        accepted = best["state"] == "accepted"
        row |= {"state": _state(good and accepted), "found": text}
        row["by"] = f"{best['who']}, {best['how']}{'' if accepted else ', ' + best['state']}"
    return row


def _against_torch(results: Results, name: str) -> Iterable[Row]:
    for section, rival, least in (
        (name, "torch eager", EAGER),
        (name + COMPILED, "torch compile", COMPILE),
    ):
        goal = f"{name} beside {rival}"
        row = {"goal": goal, "wanted": f">= {least} times", "state": "unmeasured", "found": "",
               "by": ""}  # fmt: skip
        rows = _rows(results.get(section))
        best = _fastest(results.get(section))
        theirs = [
            r for r in rows
            if best and r.get("who", "").startswith(rival) and "p50_ms" in r
            and r["how"] == best["how"]
        ]  # fmt: skip
        if best and theirs:
            other = min(theirs, key=lambda r: r["p50_ms"])
            ratio = other["p50_ms"] / best["p50_ms"]
            accepted = best["state"] == "accepted"
            row |= {"state": _state(ratio >= least and accepted), "found": f"{ratio:.3g} times"}
            row["by"] = f"{best['who']} and {other['who']}, {best['how']}"
            row["by"] += "" if accepted else f", {best['state']}"
        yield row


def _fastest(section: Mapping[str, Any] | None) -> Row | None:
    """mien's best row on the device, or of steps: an accepted one if there is any."""
    ours = [
        row for row in _rows(section)
        if row.get("how") in ("resident", *STEPS)
        and "p50_ms" in row and not row["who"].startswith(("torch", "ort"))
    ]  # fmt: skip
    return min(ours, key=lambda r: (r["state"] != "accepted", r["p50_ms"]), default=None)


def _rows(section: Mapping[str, Any] | None) -> list[Row]:
    return list(section["rows"]) if section else []


def _state(good: bool) -> str:
    return "reached" if good else "not reached"
