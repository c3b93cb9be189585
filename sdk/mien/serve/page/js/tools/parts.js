// Parts of other faces: eyes of one, hair of another.

import { list, noteBox } from "../controls.js";
import { make } from "../dom.js";

const OWN = ["", "its own"];

export function partsTool({ faces, able, redraw }) {
  const works = able.verbs.edit;
  const parts = able.parts.map((part) => [
    part,
    list(part[0].toUpperCase() + part.slice(1), { options: [OWN], changed: redraw }),
  ]);
  const lead = make("p", { className: "lead" });
  const panel = make(
    "div",
    {},
    ...(works.able
      ? [lead, make("div", { className: "parts" }, ...parts.map(([, control]) => control.element))]
      : [noteBox("Parts cannot be edited here", works.why, works.hint)]),
  );

  function update() {
    if (!faces.chosen) return;
    const others = faces.others(faces.chosen).filter((face) => face.ready);
    const options = [OWN, ...others.map((face) => [face.id, face.name])];
    for (const [, control] of parts) control.fill(options, control.value);
    lead.textContent = others.length
      ? "Take a part from another face."
      : "Add and project another face to take parts from.";
  }
  faces.addEventListener("chosen", update);
  faces.addEventListener("changed", update);

  return {
    id: "parts",
    title: "Parts",
    panel,
    needsCode: true,
    pastes: true,
    request(face) {
      if (!works.able) return null;
      const taken = parts.filter(([, control]) => control.value);
      if (!taken.length) return { verb: "draw", body: { face: face.id } };
      const named = Object.fromEntries(taken.map(([part, control]) => [part, control.value]));
      return { verb: "edit", body: { face: face.id, parts: named } };
    },
  };
}
