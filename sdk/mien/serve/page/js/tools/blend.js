// Mixing with another face in three bands of layers, and expressions: both on one code.

import { make } from "../dom.js";
import { signed, slider } from "../controls.js";
import { partnerChoice } from "./partner.js";

const BANDS = [
  ["coarse", "pose and shape"],
  ["middle", "features"],
  ["fine", "colours and texture"],
];

export function blendTool({ faces, able, redraw }) {
  const partner = partnerChoice("Mix with", { faces, ready: true, none: "nobody", changed: mixed });
  const bands = BANDS.map(([name, note]) => [
    name,
    slider(name[0].toUpperCase() + name.slice(1), { note, changed: redraw }),
  ]);
  const moods = able.expressions.map((name) => [
    name,
    slider(name[0].toUpperCase() + name.slice(1), {
      min: -1, max: 1.5, step: 0.05, show: signed, changed: redraw,
    }),
  ]);
  const reset = make("button", { type: "button", className: "quiet", textContent: "Reset" });
  reset.onclick = () => {
    for (const [, control] of [...bands, ...moods]) control.set(0, false);
    redraw();
  };
  const sliders = make("div", { className: "group" }, ...bands.map(([, band]) => band.element));
  const mood = make(
    "div",
    { className: "group" },
    make("h3", { textContent: "Expression" }),
    ...(moods.length
      ? moods.map(([, control]) => control.element)
      : [make("p", { className: "lead", textContent: "There are none for this generator." })]),
  );
  const panel = make(
    "div",
    {},
    make("div", { className: "group" }, partner.element, sliders),
    mood,
    make("div", { className: "row" }, reset),
  );

  for (const [, band] of bands) band.input.disabled = true;

  function mixed(value) {
    const none = value === null;
    for (const [, band] of bands) band.input.disabled = none;
    if (!none && bands.every(([, band]) => band.value === 0)) bands[2][1].set(1, false);
    redraw();
  }

  return {
    id: "blend",
    title: "Mix & express",
    panel,
    needsCode: true,
    pastes: true,
    request(face) {
      const shares = Object.fromEntries(bands.map(([name, band]) => [name, band.value]));
      const pushed = moods.filter(([, control]) => control.value !== 0);
      const body = { face: face.id, expressions: Object.fromEntries(pushed.map(([n, c]) => [n, c.value])) };
      if (partner.value) body.mix = { other: partner.value, ...shares };
      return { verb: "draw", body };
    },
  };
}
