// Before and after, one over the other, with an edge that is dragged or moved by the keyboard.

import { make } from "./dom.js";

export class Compare {
  constructor(frame) {
    this.frame = frame;
    frame.className = "compare";
    this.before = make("img", { className: "before", alt: "Before" });
    this.after = make("img", { className: "after", alt: "After" });
    this.range = make("input", {
      type: "range",
      min: 0,
      max: 100,
      value: 0,
      ariaLabel: "Compare before and after",
      oninput: () => this.#place(),
    });
    this.edge = make("span", { className: "edge", ariaHidden: "true" });
    this.left = make("span", { className: "tag left", textContent: "before", ariaHidden: "true" });
    this.right = make("span", { className: "tag right", textContent: "after", ariaHidden: "true" });
    frame.append(this.after, this.before, this.range, this.edge, this.left, this.right);
    this.#place();
  }

  /** Show a picture by its address as what was there before. */
  setBefore(url) {
    if (this.before.src !== url) this.before.src = url;
  }

  /** Show a blob, or an address, as what is there now. */
  setAfter(picture, alt = "After") {
    const old = this.made;
    this.made = typeof picture === "string" ? null : URL.createObjectURL(picture);
    this.after.src = this.made ?? picture;
    this.after.alt = alt;
    if (old) this.after.addEventListener("load", () => URL.revokeObjectURL(old), { once: true });
  }

  /** Whether what is compared is a whole photograph, of any shape. */
  setWide(wide) {
    this.frame.classList.toggle("wide", wide);
  }

  setBusy(busy) {
    this.frame.classList.toggle("busy", busy);
  }

  /** Put the edge in the middle, the first time that there is something to compare. */
  offer() {
    if (this.offered) return;
    this.offered = true;
    this.reveal(50);
  }

  /** Put the edge at a percentage: 0 shows what is there now alone. */
  reveal(percent) {
    this.range.value = percent;
    this.#place();
  }

  #place() {
    const x = Number(this.range.value);
    this.frame.style.setProperty("--x", `${x}%`);
    this.range.ariaValueText = `${x} percent before`;
    this.left.hidden = x < 12;
    this.right.hidden = x > 88;
    this.edge.hidden = x === 0 || x === 100;
  }
}
