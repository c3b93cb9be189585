// What people are told: quietly in the status line, plainly where something failed.

import { at, make, show } from "./dom.js";

/** Say what happened, without interrupting. */
export function say(text) {
  const line = at("status");
  if (line.textContent !== text) line.textContent = text;
}

/** Say what went wrong and what to do, until it is put away or something works again. */
export function complain(error) {
  const line = at("problem");
  const hint = error.hint ? make("span", { className: "hint", textContent: ` ${ended(error.hint)}` }) : null;
  line.replaceChildren(
    ended(error.message),
    ...(hint ? [hint] : []),
    make("button", { type: "button", textContent: "×", ariaLabel: "Put away", onclick: calm }),
  );
  show(line);
  line.dataset.code = error.code ?? "";
}

/** Put the last complaint away. */
export function calm() {
  show(at("problem"), false);
}

/** Say how the service is. */
export function serviceIs(text, kind = "") {
  const line = at("service");
  line.className = `service ${kind}`;
  if (line.textContent !== text) line.textContent = text;
}

/** A duration as people say it. */
export function spoken(seconds) {
  if (seconds < 1.5) return "a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} minutes`;
}

/** A sentence with its capital and its full stop. */
export function ended(text) {
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.?!:]$/.test(sentence) ? sentence : `${sentence}.`;
}
