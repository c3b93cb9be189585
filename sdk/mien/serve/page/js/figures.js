// Frames a second and percentiles of live frames, of the latest ones.

import { make } from "./dom.js";

const KEPT = 240;
const EVERY_MS = 500;
const NAMES = [
  ["fps", "frames a second", ""],
  ["p50", "between frames, p50", " ms"],
  ["p99", "between frames, p99", " ms"],
  ["age", "age when shown, p50", " ms"],
];

export class LiveFigures {
  constructor() {
    this.values = Object.fromEntries(NAMES.map(([id]) => [id, make("span", { textContent: "–" })]));
    this.element = make(
      "dl",
      { className: "figures" },
      ...NAMES.map(([id, name, unit]) =>
        make(
          "div",
          { attrs: { "data-figure": id } },
          make("dt", { textContent: name }),
          make("dd", {}, this.values[id], make("small", { textContent: unit })),
        ),
      ),
    );
    this.begin();
  }

  begin() {
    Object.assign(this, { times: [], ages: [], latest: null, written: 0, server: null });
  }

  /** Note that a frame is shown now, which was taken then. */
  shown(now, taken) {
    if (this.latest !== null) keep(this.times, now - this.latest);
    keep(this.ages, now - taken);
    this.latest = now;
    if (now - this.written > EVERY_MS && this.times.length) this.#write(now);
  }

  /** Keep the service's own report. */
  report(report) {
    this.server = report;
  }

  end() {
    if (this.times.length) this.#write(this.latest);
  }

  #write(now) {
    this.written = now;
    const sum = this.times.reduce((total, time) => total + time, 0);
    this.values.fps.textContent = ((1000 * this.times.length) / sum).toFixed(1);
    this.values.p50.textContent = percentile(this.times, 0.5).toFixed(0);
    this.values.p99.textContent = percentile(this.times, 0.99).toFixed(0);
    this.values.age.textContent = percentile(this.ages, 0.5).toFixed(0);
  }
}

function keep(list, value) {
  list.push(value);
  if (list.length > KEPT) list.shift();
}

/** The value below which a share of a list lies. */
export function percentile(list, share) {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
