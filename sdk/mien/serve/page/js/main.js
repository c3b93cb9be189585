// The page: what the service can do decides what is shown; then everything is wired.

import { bringBack, wireAdding } from "./add.js";
import { get, takeToken } from "./api.js";
import { wireCamera } from "./camera.js";
import { at } from "./dom.js";
import { Faces } from "./faces.js";
import { wireLive } from "./live.js";
import { complain, say, serviceIs } from "./say.js";
import { Stage } from "./stage.js";
import { wireTabs } from "./tabs.js";
import { blendTool } from "./tools/blend.js";
import { lookalikeTool } from "./tools/lookalike.js";
import { mergeTool } from "./tools/merge.js";
import { partsTool } from "./tools/parts.js";
import { styleTool } from "./tools/style.js";
import { swapTool } from "./tools/swap.js";
import { translateTool } from "./tools/translate.js";
import { wireViews } from "./views.js";

const HEALTH_MS = 4000;
const AGAIN_MS = 3000;
const TOOLS = [blendTool, partsTool, styleTool, lookalikeTool, swapTool, mergeTool, translateTool];

async function begin() {
  const able = await get("capabilities");
  const faces = new Faces();
  let tool = null;
  const stage = new Stage(faces, () => tool);
  const context = {
    faces,
    able,
    redraw: () => tool && stage.redraw(),
    run: (start, name, face) => stage.runSwap(start, name, face),
  };
  wireTabs(TOOLS.map((build) => build(context)), (chosen) => {
    tool = chosen;
    stage.toolChanged();
  });
  const busy = (text) => (text ? (serviceIs(text), say(text)) : watchHealth.now());
  const { photograph } = wireAdding({
    faces, able, busy, begin: (face) => stage.project(face, "fast"),
  });
  wireCamera(photograph);
  const live = wireLive(able);
  wireViews({ leaveLive: () => live.stop() });
  await bringBack(faces, (face, job) => stage.project(face, null, job));
  if (faces.list.length) faces.choose(faces.list[0]);
}

/** Keep saying how the service is. */
function watchHealth() {
  const look = async () => {
    try {
      const health = await get("/health");
      serviceIs(health.ready ? "Ready" : "Opening the networks …", health.ready ? "good" : "");
    } catch {
      serviceIs("Not reached", "bad");
    }
  };
  watchHealth.now = look;
  setInterval(() => document.hidden || look(), HEALTH_MS);
  look();
}

async function start() {
  takeToken();
  watchHealth();
  for (;;) {
    try {
      await begin();
      document.body.dataset.ready = "";
      return;
    } catch (error) {
      complain(error);
      if (error.code !== "Unreachable") return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

at("content").classList.add("fresh");
start();
