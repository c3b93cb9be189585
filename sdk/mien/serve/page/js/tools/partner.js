// Choosing another face: those that are there, kept up to date.

import { choice } from "../controls.js";

/** A choice among the faces other than the chosen one. ready: only those that are projected.
 *  none: the name of choosing nobody; without it somebody always is chosen. */
export function partnerChoice(legend, { faces, ready = false, none = null, changed }) {
  const control = choice(legend, { changed });
  const update = () => {
    if (!faces.chosen) return;
    const others = faces.others(faces.chosen).filter((face) => face.ready || !ready);
    const options = others.map((face) => ({ value: face.id, name: face.name, src: face.url }));
    if (none !== null) options.unshift({ value: null, name: none });
    const still = options.some((option) => option.value === control.value);
    const before = control.value;
    control.fill(options, still ? control.value : (options[0]?.value ?? null));
    if (control.value !== before) changed?.(control.value);
  };
  faces.addEventListener("chosen", update);
  let last = "";
  faces.addEventListener("changed", () => {
    const now = faces.list.map((face) => face.id + face.ready).join();
    if (now !== last) update();
    last = now;
  });
  return control;
}

/** How many other faces there are. */
export const hasOthers = (faces) => faces.list.length > 1;
