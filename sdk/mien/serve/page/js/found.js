// A photograph with the squares of its faces, as alignment found them.

import { at, draw, make, show } from "./dom.js";

/** Show a photograph's file with what was found in it. Returns its address in this page. */
export function showFound(file, photo) {
  const frame = at("photo");
  const url = URL.createObjectURL(file);
  const picture = make("img", { src: url, alt: `Photograph, ${counted(photo.found)}` });
  const squares = draw(
    "svg",
    { viewBox: `0 0 ${photo.width} ${photo.height}`, "aria-hidden": "true" },
    ...photo.faces.map((face) =>
      draw("polygon", { points: face.quad.map((corner) => corner.join(",")).join(" ") }),
    ),
  );
  frame.replaceChildren(picture, squares, make("figcaption", { textContent: counted(photo.found) }));
  at("content").classList.remove("fresh");
  for (const id of ["welcome", "compare", "tools", "progress", "paste-label"]) show(at(id), false);
  at("save").disabled = true;
  for (const one of [frame, at("below")]) show(one);
  return url;
}

/** "1 face found". */
export const counted = (count) => `${count} ${count === 1 ? "face" : "faces"} found`;
