// Two views, the studio and the live picture, by the part of the address behind #.

import { at, show } from "./dom.js";

/** Show the view that the address names, now and when it changes. */
export function wireViews({ leaveLive }) {
  const look = () => {
    const live = location.hash === "#live";
    show(at("studio-view"), !live);
    show(at("live-view"), live);
    mark(at("to-live"), live);
    mark(at("to-studio"), !live);
    if (!live) leaveLive();
  };
  addEventListener("hashchange", look);
  look();
}

function mark(link, current) {
  if (current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}
