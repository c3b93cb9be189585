// Elements from code: no markup is ever made of strings.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element with properties; attributes that have no property go in by `attrs`. */
export function make(tag, { attrs = {}, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Return an SVG element with attributes. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return the element of an id. */
export const at = (id) => document.getElementById(id);

/** Show or hide an element. */
export function show(element, shown = true) {
  element.hidden = !shown;
}
