// A face in the style of another domain, where the service has a network for it.

import { list, noteBox, slider } from "../controls.js";
import { make } from "../dom.js";
import { partnerChoice } from "./partner.js";

const SERVE = "Start the service with it: mien serve --bundle BUNDLE";

export function translateTool({ faces, able, redraw }) {
  const works = able.verbs.translate;
  const title = "Translate";
  if (!works.able) {
    const panel = make("div", {}, noteBox("Translation has no network here", works.why, works.hint, SERVE));
    return { id: "translate", title, panel, needsCode: false, request: () => null };
  }
  const domain = list("Domain", { options: able.domains.map((name) => [name, name]), changed: redraw });
  const reference = partnerChoice("In the style of", { faces, none: "nobody", changed: redraw });
  const seed = slider("Nobody's style", { min: 0, max: 99, step: 1, show: String, changed: redraw });
  const panel = make("div", {}, make("div", { className: "group" }, domain.element, reference.element, seed.element));
  return {
    id: "translate",
    title,
    panel,
    needsCode: false,
    pastes: false,
    request(face) {
      const body = { face: face.id, domain: domain.value };
      if (reference.value) body.reference = reference.value;
      else body.seed = seed.value;
      return { verb: "translate", body };
    },
  };
}
