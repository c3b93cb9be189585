// Faces that share an identity: ten controls, which nobody has named.

import { noteBox, signed, slider } from "../controls.js";
import { make } from "../dom.js";

export function lookalikeTool({ able, redraw }) {
  const works = able.verbs.lookalike;
  if (!works.able) {
    const panel = make("div", {}, noteBox("Look-alikes cannot be drawn here", works.why, works.hint));
    return { id: "lookalike", title: "Look-alikes", panel, request: () => null };
  }
  const dials = Array.from({ length: able.controls }, (_, i) =>
    slider(`Control ${i + 1}`, { min: -1, max: 1, step: 0.05, show: signed, changed: redraw }),
  );
  const setAll = (value) => {
    for (const dial of dials) dial.set(value(), false);
    redraw();
  };
  const shuffle = make("button", { type: "button", textContent: "Shuffle" });
  shuffle.onclick = () => setAll(() => 2 * Math.random() - 1);
  const reset = make("button", { type: "button", className: "quiet", textContent: "Reset" });
  reset.onclick = () => setAll(() => 0);
  const panel = make(
    "div",
    {},
    make("p", { className: "lead", textContent: "The same person, drawn otherwise. What a control means is what training made of it." }),
    make("div", { className: "row" }, shuffle, reset),
    make("div", { className: "dials" }, ...dials.map((dial) => dial.element)),
  );
  return {
    id: "lookalike",
    title: "Look-alikes",
    panel,
    needsCode: false,
    pastes: true,
    request: (face) => ({
      verb: "lookalike",
      body: { face: face.id, controls: dials.map((dial) => dial.value) },
    }),
  };
}
