// The faces that are worked with, and which of them is chosen.

import { blob } from "./api.js";
import { at, make } from "./dom.js";

/** Tells of "chosen", and of "changed" with the face as its detail. */
export class Faces extends EventTarget {
  list = [];
  chosen = null;

  /** Add a face of the service under a name, and load its crop. */
  async add(out, name) {
    const known = this.list.find((face) => face.id === out.id);
    if (known) return known;
    const face = { ...out, name, job: null, share: 0, state: out.ready ? "" : "not projected" };
    face.url = URL.createObjectURL(await blob(out.picture));
    this.list.push(face);
    sessionStorage.setItem(`mien-name-${face.id}`, name);
    this.#button(face);
    this.changed(face);
    return face;
  }

  /** The name that a face had in this tab before the page was loaded anew. */
  static nameOf(id) {
    return sessionStorage.getItem(`mien-name-${id}`);
  }

  /** A name that no face has yet: "ada", "ada 2". */
  freeName(stem) {
    const taken = new Set(this.list.map((face) => face.name));
    for (let i = 1; ; i += 1) {
      const name = i === 1 ? stem : `${stem} ${i}`;
      if (!taken.has(name)) return name;
    }
  }

  choose(face) {
    this.chosen = face;
    for (const one of this.list) one.button.setAttribute("aria-pressed", String(one === face));
    this.dispatchEvent(new Event("chosen"));
  }

  /** Say that a face is not what it was. */
  changed(face) {
    face.label.textContent = face.state;
    face.button.classList.toggle("waiting", !face.ready);
    this.dispatchEvent(new CustomEvent("changed", { detail: face }));
  }

  others(face) {
    return this.list.filter((one) => one !== face);
  }

  #button(face) {
    face.label = make("span", { className: "state" });
    face.button = make(
      "button",
      {
        type: "button",
        className: "face",
        onclick: () => this.choose(face),
        attrs: { "aria-pressed": "false" },
      },
      make("img", { src: face.url, alt: "" }),
      make("span", { className: "name", textContent: face.name, title: face.name }),
      face.label,
    );
    at("faces").append(face.button);
  }
}
