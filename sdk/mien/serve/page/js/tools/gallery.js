// The gallery of styles, which the style tool and the live tab share: one more style serves both.

import { send } from "../api.js";
import { choice } from "../controls.js";
import { make } from "../dom.js";
import { complain } from "../say.js";

const sent = []; // {value, name, src} of styles that were sent
const galleries = new Set();

/** A gallery of styles with a way to add one's own. */
export function styleGallery(able, changed) {
  const pictures = choice("Style", { className: "gallery", changed });
  const own = able.styles.map((name) => ({ value: name, name, src: `/styles/${name}.jpg` }));
  const file = make("input", { type: "file", hidden: true, attrs: { accept: "image/*" } });
  const more = make("button", { type: "button", className: "quiet", textContent: "Add a style" });
  more.onclick = () => file.click();
  file.onchange = async () => {
    const [picture] = file.files;
    file.value = "";
    if (!picture) return;
    try {
      const { id } = await send("styles", picture);
      sent.push({ value: id, name: `yours ${sent.length + 1}`, src: URL.createObjectURL(picture) });
      for (const update of galleries) update();
      pictures.fill([...own, ...sent], id);
      changed?.(id);
    } catch (error) {
      complain(error);
    }
  };
  const update = () => pictures.fill([...own, ...sent], pictures.value ?? own[0]?.value ?? null);
  galleries.add(update);
  update();
  return {
    element: make("div", { className: "group" }, pictures.element, make("div", { className: "row" }, more, file)),
    get value() {
      return pictures.value;
    },
  };
}
