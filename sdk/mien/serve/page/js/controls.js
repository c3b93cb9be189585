// What tools are built of: sliders that say their value, and choices that are seen.

import { make } from "./dom.js";
import { ended } from "./say.js";

let count = 0;
const freshId = () => `control-${(count += 1)}`;

/** A slider with its label and value. changed(value): called while it moves. */
export function slider(label, { min = 0, max = 1, step = 0.01, value = 0, note = "", show = percent, changed }) {
  const id = freshId();
  // The slider itself says its value to those who listen.
  const output = make("span", { className: "value", ariaHidden: "true" });
  const input = make("input", { type: "range", id, min, max, step, value });
  const place = () => {
    const now = Number(input.value);
    output.textContent = show(now);
    input.ariaValueText = show(now);
    const part = (x) => (100 * (x - min)) / (max - min);
    const zero = part(Math.min(Math.max(0, min), max));
    const [low, high] = [Math.min(zero, part(now)), Math.max(zero, part(now))];
    const width = high - low;
    input.style.setProperty("--fill", `${width}%`);
    input.style.setProperty("--from", `${width < 100 ? (100 * low) / (100 - width) : 0}%`);
  };
  input.oninput = () => {
    place();
    changed?.(Number(input.value));
  };
  input.ondblclick = () => control.set(value);
  const control = {
    element: make(
      "div",
      { className: "slider" },
      make("label", { htmlFor: id, textContent: label }),
      output,
      note ? make("span", { className: "note", textContent: note }) : null,
      input,
    ),
    input,
    get value() {
      return Number(input.value);
    },
    set(now, tell = true) {
      input.value = now;
      place();
      if (tell) changed?.(control.value);
    },
  };
  place();
  return control;
}

export const percent = (value) => `${Math.round(100 * value)} %`;
export const signed = (value) => (value > 0 ? `+${value.toFixed(2)}` : value.toFixed(2).replace("-", "−"));

/** A row of pictures of which one is chosen. options: {value, name, src}; src none is an empty box. */
export function choice(legend, { className = "choices", changed }) {
  const name = freshId();
  const row = make("div", { className });
  const control = {
    element: make("fieldset", {}, make("legend", { textContent: legend }), row),
    value: null,
    fill(options, value) {
      control.value = value;
      row.replaceChildren(
        ...options.map((option) =>
          make(
            "label",
            { className: option.src ? "choice" : "choice none" },
            make("input", {
              type: "radio",
              name,
              value: option.value ?? "",
              checked: option.value === value,
              onchange: () => {
                control.value = option.value;
                changed?.(option.value);
              },
            }),
            ...(option.src ? [make("img", { src: option.src, alt: "" })] : []),
            make("span", { textContent: option.name }),
          ),
        ),
      );
    },
  };
  return control;
}

/** A list of which one is chosen. options: [value, name]. */
export function list(label, { options = [], changed }) {
  const select = make("select", { onchange: () => changed?.(select.value) });
  const control = {
    element: make("label", { className: "field" }, make("span", { textContent: label }), select),
    get value() {
      return select.value;
    },
    fill(now, value = "") {
      select.replaceChildren(...now.map(([v, n]) => make("option", { value: v, textContent: n })));
      select.value = now.some(([v]) => v === value) ? value : (now[0]?.[0] ?? "");
    },
  };
  control.fill(options);
  return control;
}

/** A box to tick. */
export function check(label, { checked = false, changed }) {
  const input = make("input", { type: "checkbox", checked, onchange: () => changed?.(input.checked) });
  return { element: make("label", { className: "check" }, input, label), input };
}

/** A box that says plainly what is not there, and what to do. */
export function noteBox(title, ...lines) {
  const rest = lines.filter(Boolean).map((text) => make("span", { textContent: ended(text) }));
  return make("div", { className: "note-box" }, make("strong", { textContent: title }), ...rest);
}
