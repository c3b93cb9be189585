// Two faces in one, in some sizes of detail or in all.

import { list, noteBox, slider } from "../controls.js";
import { make } from "../dom.js";
import { partnerChoice } from "./partner.js";

const BLOCKS = [
  ["all", "in every detail"],
  ["coarse", "in shape"],
  ["middle", "in features"],
  ["fine", "in texture"],
];

export function mergeTool({ faces, able, redraw }) {
  const works = able.verbs.merge;
  const other = partnerChoice("Merge with", { faces, changed: update });
  const strength = slider("Strength", { value: 1, changed: redraw });
  const blocks = list("Where they merge", { options: BLOCKS, changed: redraw });
  const lead = make("p", { className: "lead" });
  const panel = works.able
    ? make("div", {}, make("div", { className: "group" }, lead, other.element), make("div", { className: "group" }, strength.element, blocks.element))
    : make("div", {}, noteBox("Faces cannot be merged here", works.why, works.hint));

  function update() {
    lead.textContent = other.value ? "" : "Add another face to merge with.";
    lead.hidden = Boolean(other.value);
    redraw();
  }
  faces.addEventListener("chosen", update);

  return {
    id: "merge",
    title: "Merge",
    panel,
    needsCode: false,
    pastes: true,
    request(face) {
      if (!works.able || !other.value) return null;
      const body = { content: face.id, pattern: other.value, strength: strength.value, blocks: blocks.value };
      return { verb: "merge", body };
    },
  };
}
