// The row of tools: arrow keys go along it, one panel is seen at a time.

import { at, make, show } from "./dom.js";

/** Show tools as tabs. changed(tool): called with the one that is chosen. Returns a chooser. */
export function wireTabs(tools, changed) {
  const tabs = tools.map((tool) =>
    make("button", {
      type: "button",
      id: `tab-${tool.id}`,
      textContent: tool.title,
      onclick: () => choose(tool),
      attrs: { role: "tab", "aria-controls": `panel-${tool.id}` },
    }),
  );
  for (const tool of tools) {
    tool.panel.id = `panel-${tool.id}`;
    tool.panel.className = "panel";
    tool.panel.setAttribute("role", "tabpanel");
    tool.panel.setAttribute("aria-labelledby", `tab-${tool.id}`);
  }
  at("tabs").replaceChildren(...tabs);
  at("panels").replaceChildren(...tools.map((tool) => tool.panel));
  at("tabs").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    const now = tabs.indexOf(document.activeElement);
    const next = Math.abs(step) === 1 ? (now + step + tabs.length) % tabs.length : step < 0 ? 0 : tabs.length - 1;
    choose(tools[next]);
    tabs[next].focus();
  };

  function choose(chosen) {
    tools.forEach((tool, i) => {
      tabs[i].setAttribute("aria-selected", String(tool === chosen));
      tabs[i].tabIndex = tool === chosen ? 0 : -1;
      show(tool.panel, tool === chosen);
    });
    changed(chosen);
  }
  choose(tools[0]);
  return choose;
}
