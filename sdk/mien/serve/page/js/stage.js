// The picture in the middle: the chosen face, what the chosen tool makes of it, and its progress.

import { ask, get, post } from "./api.js";
import { Compare } from "./compare.js";
import { at, show } from "./dom.js";
import { follow, isOver } from "./follow.js";
import { Latest } from "./latest.js";
import { calm, complain, say, spoken } from "./say.js";
import { keep } from "./save.js";

const BUSY_MS = 150; // until a request is shown to be on its way
const SLOW_MS = 2000; // until that is said in words
const LONG_S = 25; // of a job that is worth a remark

export class Stage {
  /** tool: a function that returns the chosen tool. */
  constructor(faces, tool) {
    Object.assign(this, { faces, tool, kept: null });
    this.compare = new Compare(at("compare"));
    this.drawing = new Latest(
      (wish) => this.#draw(wish),
      (result, wish) => this.#drawn(result, wish),
      (error) => this.#failed(error),
      (busy) => at("compare").setAttribute("aria-busy", String(busy)),
    );
    at("stop").onclick = () => this.#stopOrGoOn();
    at("save").onclick = () => this.kept && keep(this.kept.blob, this.kept.name);
    at("paste").onchange = () => this.redraw();
    faces.addEventListener("chosen", () => this.showFace());
  }

  get face() {
    return this.faces.chosen;
  }

  /** Show the chosen face as it is, and then what the tool makes of it. */
  showFace() {
    at("content").classList.remove("fresh");
    for (const id of ["welcome", "photo"]) show(at(id), false);
    for (const id of ["compare", "below", "tools"]) show(at(id));
    this.#showPlain();
    this.showProgress();
    this.redraw();
  }

  /** Another tool was chosen. */
  toolChanged() {
    if (!this.face) return;
    this.#showPlain();
    this.redraw();
  }

  /** The face as it came, with nothing made of it yet. */
  #showPlain() {
    const { face } = this;
    this.compare.setWide(false);
    this.compare.setBefore(face.before ?? face.url);
    this.compare.setAfter(face.url, face.name);
    if (face.found) this.#showFound();
    this.kept = null;
    at("save").disabled = true;
  }

  /** What the search for the chosen face's code has come to. */
  #showFound() {
    this.compare.offer();
    this.compare.setAfter(this.face.found, `${this.face.name}, as found so far`);
  }

  /** Ask for the picture that the tool's controls describe. */
  redraw() {
    const { face } = this;
    if (!face) return;
    const tool = this.tool();
    show(at("paste-label"), Boolean(face.pastes && face.photoUrl && tool.pastes));
    if (tool.needsCode && !face.ready) {
      this.drawing.drop();
      if (!face.job) say("Project this face first: that finds the code which the tools work on.");
      return;
    }
    const request = tool.request(face);
    if (!request) {
      this.drawing.drop();
      say("");
      return;
    }
    const paste = at("paste").checked && !at("paste-label").hidden;
    const body = paste ? { ...request.body, paste, kind: "jpeg" } : request.body;
    this.drawing.ask({ face, tool, body, paste, verb: request.verb });
  }

  /** Project a face, or take up a job that is under way. */
  async project(face, preset, job = null) {
    try {
      face.job = job ?? (await post("jobs", { verb: "project", face: face.id, preset }));
      this.#note(face);
      await this.#follow(face);
    } catch (error) {
      face.state = "failed";
      face.job = null;
      complain(error);
    }
    face.found = null;
    this.faces.changed(face);
    if (face === this.face) {
      this.showProgress();
      this.redraw();
    }
  }

  /** Run a swap: start() begins the job, whose face is added under a name and chosen. */
  async runSwap(start, name, target) {
    this.swap = { target, job: null };
    const told = (job) => {
      this.swap.job = job;
      if (this.face === target) this.showProgress();
    };
    const drawn = (picture) => {
      if (this.face === target) this.compare.setAfter(picture, `${name}, as found so far`);
    };
    try {
      told(await start());
      const job = await follow(this.swap.job, told, drawn);
      this.swap = null;
      if (job.error) return complain(job.error);
      if (!job.result.face) return say("Stopped before there was anything to show.");
      const face = await this.faces.add(await get(`faces/${job.result.face}`), name);
      face.before = target.url;
      this.faces.choose(face);
      say(`Swapped in ${spoken(job.seconds)}.`);
    } catch (error) {
      complain(error);
    } finally {
      this.swap = null;
      this.showProgress();
    }
  }

  async #follow(face) {
    const told = (job) => {
      face.job = job;
      this.#note(face);
    };
    const drawn = (picture) => {
      if (face.ready) return;
      face.found = picture;
      if (face === this.face) this.#showFound();
    };
    const job = await follow(face.job, told, drawn);
    face.job = job;
    if (job.error) {
      complain(job.error);
      face.state = "failed";
    } else if (job.result.face) {
      face.ready = true;
      face.state = job.state === "done" ? "" : "stopped early";
      say(outcome(job));
    } else {
      face.state = "not projected";
    }
  }

  /** Write how far a face's job is, where it is seen. */
  #note(face) {
    const { job } = face;
    face.share = job.steps ? job.step / job.steps : 0;
    face.state = job.state === "waiting" ? "waiting" : `${Math.round(100 * face.share)} %`;
    this.faces.changed(face);
    if (face === this.face) this.showProgress();
  }

  /** Show the bar of the chosen face's job, or what can be done without one. */
  showProgress() {
    const { face } = this;
    if (!face) return;
    const job = this.#job();
    const active = job && !isOver(job);
    const rests = !active && (!face.ready || job?.state === "cancelled");
    show(at("progress"), Boolean(active || rests));
    show(at("bar"), Boolean(active));
    at("bar").value = job?.steps ? job.step / job.steps : 0;
    at("progress-text").textContent = active ? pace(job) : resting(job);
    at("stop").textContent = active ? "Stop" : job?.state === "cancelled" ? "Go on" : "Project";
    at("stop").disabled = false;
  }

  /** What runs for the chosen face. */
  #job() {
    return this.swap?.target === this.face ? this.swap.job : this.face.job;
  }

  async #stopOrGoOn() {
    const { face } = this;
    const job = this.#job();
    try {
      if (job && !isOver(job)) {
        at("stop").disabled = true;
        await post(`jobs/${job.id}/cancel`);
      } else if (job?.state === "cancelled") {
        face.ready = false;
        await this.project(face, null, await post(`jobs/${job.id}/resume`));
      } else {
        await this.project(face, "fast");
      }
    } catch (error) {
      complain(error);
    }
  }

  async #draw({ verb, body }) {
    const began = performance.now();
    const busy = setTimeout(() => this.compare.setBusy(true), BUSY_MS);
    const slow = setTimeout(() => say("Still drawing: the machine is busy …"), SLOW_MS);
    try {
      const response = await ask(`/api/v1/${verb}`, { method: "POST", json: body });
      const picture = await response.blob();
      return { picture, ms: performance.now() - began, drawMs: drawingTime(response) };
    } finally {
      clearTimeout(busy);
      clearTimeout(slow);
      this.compare.setBusy(false);
    }
  }

  #drawn({ picture, ms, drawMs }, { face, tool, paste, verb }) {
    if (face !== this.face || tool !== this.tool()) return;
    calm();
    this.compare.setWide(paste);
    this.compare.setBefore(paste ? face.photoUrl : (face.before ?? face.url));
    this.compare.offer();
    this.compare.setAfter(picture, `${face.name}: ${tool.title}`);
    this.kept = { blob: picture, name: `mien-${face.name}-${verb}`.replaceAll(" ", "-") };
    at("save").disabled = false;
    this.last = { ms, drawMs };
    say(`Drawn in ${Math.round(ms)} ms, the network ${Math.round(drawMs)} ms`);
  }

  #failed(error) {
    complain(error);
    say("");
  }
}

/** What a search came to, in a sentence. */
function outcome(job) {
  const found = `Projected in ${spoken(job.seconds)}, ${job.step} steps`;
  if (job.ended === "seconds") return `${found}: the time was over. It is the best so far.`;
  if (job.state === "cancelled") return `Stopped after ${job.step} steps. It is the best so far.`;
  return `${found}.`;
}

function pace(job) {
  if (job.state === "waiting") return job.before ? `${job.before} before it` : "About to begin";
  if (!job.step) return "Getting ready …";
  const left = job.left === null ? "" : `, about ${spoken(job.left)} left`;
  const slow = job.left > LONG_S ? ". This machine is slow; go on working meanwhile" : "";
  return `Step ${job.step} of ${job.steps}${left}${slow}`;
}

function resting(job) {
  if (job?.state === "cancelled") return "Stopped early. Going on makes it more like the face.";
  return "Not projected yet.";
}

/** The milliseconds that drawing took in the service, as it states them. */
function drawingTime(response) {
  const found = /draw;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return found ? Number(found[1]) : 0;
}
