"""How the page of a report looks, by light and by dark."""

from __future__ import annotations

from mien.bench.svg import COLOURS

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #69717a; --paper: #fdfdfc; --card: #fff;
  --edge: #dfe2e6; --good: #1a7f4b; --bad: #c0362c; --k0: #0b6fb8; --k1: #d9590b; --k2: #1c8a62;
  --k3: #b8458c; --k4: #8a6d00; --k5: #4aa3c9; --k6: #7a55c7; --k7: #5c6670; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --faint: #98a1ab; --paper: #14171a;
  --card: #1b1f23; --edge: #343a41; --good: #5cc98f; --bad: #ff7d70; --k0: #5ab4f5; --k1: #ff9a5a;
  --k2: #5ad0a4; --k3: #ee92c6; --k4: #e2c65a; --k5: #86d3f0; --k6: #b59cf5; --k7: #a7b0ba; } }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } p { margin: .4rem 0; }
.faint, figcaption { color: var(--faint); font-size: .88rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; font-size: .88rem;
  font-variant-numeric: tabular-nums; width: 100%; } th, td { padding: .32rem .6rem;
  border-bottom: 1px solid var(--edge); text-align: right; white-space: nowrap; }
th { color: var(--faint); font-weight: 600; } th:first-child, td:first-child,
td.words, th.words { text-align: left; } td.words { white-space: normal; }
figure { margin: .8rem 0; background: var(--card); border: 1px solid var(--edge);
  border-radius: 8px; padding: .7rem; } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--edge); stroke-width: 1; } .axis { stroke: var(--faint); fill: none; }
.line { fill: none; stroke-width: 1.8; } .dot { stroke: none; } .roof { stroke: var(--faint); }
.good { color: var(--good); } .bad { color: var(--bad); stroke: var(--bad); }
td.bad { stroke: none; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 3px;
  margin: 0 .35em 0 .9em; }
"""
STYLE += "".join(
    f".line.c{i} {{ stroke: var(--k{i}); }} .dot.c{i}, .key.c{i} {{ fill: var(--k{i}); "
    f"background: var(--k{i}); }}\n"
    for i in range(COLOURS)
)
