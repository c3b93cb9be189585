// The photograph's face in the style of a picture.

import { check, noteBox, slider } from "../controls.js";
import { make } from "../dom.js";
import { styleGallery } from "./gallery.js";

export function styleTool({ able, redraw }) {
  const works = able.verbs.stylize;
  if (!works.able) {
    const panel = make("div", {}, noteBox("Styles cannot be drawn here", works.why, works.hint));
    return { id: "style", title: "Style", panel, request: () => null };
  }
  const gallery = styleGallery(able, redraw);
  const strength = slider("Strength", { value: 0.8, changed: redraw });
  const palette = slider("Palette", { value: 1, changed: redraw });
  const colours = check("Keep the photograph's colours", { changed: redraw });
  const panel = make(
    "div",
    {},
    gallery.element,
    make("div", { className: "group" }, strength.element, palette.element, colours.element),
  );
  return {
    id: "style",
    title: "Style",
    panel,
    needsCode: false,
    pastes: true,
    request: (face) => ({
      verb: "stylize",
      body: {
        face: face.id,
        style: gallery.value,
        strength: strength.value,
        match_colour: palette.value,
        keep_colour: colours.input.checked,
      },
    }),
  };
}
