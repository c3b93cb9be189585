// One face's identity in another's picture: a search, with its progress.

import { post } from "../api.js";
import { noteBox } from "../controls.js";
import { make } from "../dom.js";
import { partnerChoice } from "./partner.js";

export function swapTool({ faces, able, redraw, run }) {
  const works = able.verbs.swap;
  const donor = partnerChoice("Whose identity", { faces, changed: update });
  const button = make("button", { type: "button", className: "main", textContent: "Swap" });
  const lead = make("p", { className: "lead" });
  const group = make("div", { className: "group" }, lead, donor.element, make("div", { className: "row" }, button));
  const panel = works.able
    ? make("div", {}, group)
    : make("div", {}, noteBox("Faces cannot be swapped here", works.why, works.hint));

  function update() {
    button.disabled = !donor.value;
    lead.textContent = donor.value
      ? "Pose, colours and background stay; the face becomes the other's. Swap people who agreed to it."
      : "Add another face to take the identity from.";
  }
  faces.addEventListener("chosen", update);

  button.onclick = async () => {
    const target = faces.chosen;
    const other = faces.list.find((face) => face.id === donor.value);
    const asked = { verb: "swap", identity: other.id, attributes: target.id };
    button.disabled = true;
    await run(() => post("jobs", asked), faces.freeName(`${target.name} as ${other.name}`), target);
    update();
  };
  update();

  return {
    id: "swap",
    title: "Swap",
    panel,
    needsCode: false,
    pastes: false,
    request: (face) => (face.ready ? { verb: "draw", body: { face: face.id } } : null),
  };
}
