// The live tab: camera frames to the service, drawn frames back, and how fast that goes.

import { openLive } from "./api.js";
import { noteBox, slider } from "./controls.js";
import { at, make, show } from "./dom.js";
import { LiveFigures } from "./figures.js";
import { calm, complain } from "./say.js";
import { styleGallery } from "./tools/gallery.js";

const SIDE = 256; // px of the shorter side that is drawn
const AHEAD = 2; // frames that are on their way at once
const QUALITY = 0.85;
const STAMP = 8; // bytes before a frame: when it was taken
const SLOW_FPS = 5;
const FULL = 1013; // the service's code for having no place

/** Build the tab. Returns what stops it. */
export function wireLive(able) {
  const works = able.verbs.stylize;
  if (!works.able) {
    at("live-view").replaceChildren(noteBox("There is no network to draw live", works.why, works.hint));
    return { stop() {} };
  }
  const canvas = make("canvas", { width: 4, height: 3, ariaLabel: "Live picture", attrs: { role: "img" } });
  const empty = make("p", { className: "empty", textContent: "Your camera, redrawn in a style as you move." });
  const button = make("button", { type: "button", className: "main", textContent: "Start the camera" });
  const remark = make("p", { className: "status", attrs: { role: "status" } });
  const figures = new LiveFigures();
  const gallery = styleGallery(able, () => session?.settings());
  const strength = slider("Strength", { value: 1, changed: () => session?.settings() });
  const smoothing = slider("Steadiness", {
    value: 0.3, note: "against flicker", changed: () => session?.settings(),
  });
  at("live-view").replaceChildren(
    make(
      "section",
      { className: "screen", ariaLabel: "Live picture" },
      make("div", { className: "picture" }, canvas, empty),
      figures.element,
      make("div", { className: "row" }, button, remark),
    ),
    make("section", { className: "panel", ariaLabel: "Live controls" }, gallery.element, make("div", { className: "group" }, strength.element, smoothing.element)),
  );
  show(canvas, false);
  let session = null;

  async function start() {
    button.disabled = true;
    calm();
    try {
      session = new Session({
        canvas,
        figures,
        wanted: () => ({
          style: gallery.value, strength: strength.value, smoothing: smoothing.value,
        }),
        said: (text) => (remark.textContent = text),
        ended: stop,
      });
      await session.open();
      show(canvas);
      show(empty, false);
      button.textContent = "Stop";
    } catch (error) {
      stop();
      complain(error);
    }
    button.disabled = false;
  }

  function stop() {
    session?.close();
    session = null;
    button.textContent = "Start the camera";
    remark.textContent = "";
  }

  button.onclick = () => (session ? stop() : start());
  return { stop };
}

/** A camera, a socket, and the frames between them. */
class Session {
  constructor(parts) {
    Object.assign(this, parts, { onTheWay: [], closed: false });
    this.video = make("video", { muted: true, playsInline: true });
    this.small = document.createElement("canvas");
  }

  async open() {
    this.stream = await camera();
    this.video.srcObject = this.stream;
    await this.video.play();
    const scale = SIDE / Math.min(this.video.videoWidth, this.video.videoHeight);
    this.small.width = this.canvas.width = Math.round(this.video.videoWidth * scale);
    this.small.height = this.canvas.height = Math.round(this.video.videoHeight * scale);
    this.figures.begin();
    this.socket = openLive();
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.#told(data) : this.#got(data));
    this.socket.onclose = ({ code, reason }) => this.#gone(code, reason);
    await new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error("The live session was refused"));
    });
    this.settings();
    this.#next();
  }

  /** Tell the service what is to be drawn. */
  settings() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(this.wanted()));
  }

  close() {
    this.closed = true;
    this.socket?.close();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.figures.end();
  }

  #next() {
    if (this.closed) return;
    const again = () => this.#send().finally(() => this.#next());
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(again);
    else requestAnimationFrame(again);
  }

  async #send() {
    if (this.onTheWay.length >= AHEAD || this.socket.readyState !== WebSocket.OPEN) return;
    const taken = performance.now();
    this.onTheWay.push(taken);
    const { width, height } = this.small;
    this.small.getContext("2d").drawImage(this.video, 0, 0, width, height);
    const jpeg = await new Promise((resolve) => this.small.toBlob(resolve, "image/jpeg", QUALITY));
    if (!this.closed) this.socket.send(new Blob([new Float64Array([taken]), jpeg]));
  }

  async #got(data) {
    const [taken] = new Float64Array(data.slice(0, STAMP));
    this.onTheWay = this.onTheWay.filter((other) => other > taken); // it settles older ones, too
    if (data.byteLength === STAMP) return;
    const picture = await createImageBitmap(new Blob([data.slice(STAMP)], { type: "image/jpeg" }));
    if (this.closed) return;
    this.canvas.getContext("2d").drawImage(picture, 0, 0, this.canvas.width, this.canvas.height);
    picture.close();
    this.figures.shown(performance.now(), taken);
  }

  #told(text) {
    const { report, problem } = JSON.parse(text);
    if (problem) complain(problem);
    if (!report) return;
    this.figures.report(report);
    const slow = report.shown > 2 && report.fps < SLOW_FPS;
    this.said(slow ? `Slow: drawing a frame takes ${Math.round(report.draw_ms.p50)} ms on this machine.` : "");
  }

  #gone(code, reason) {
    if (this.closed) return;
    const message = code === FULL ? reason : "The live session has ended";
    complain({ message, hint: code === FULL ? "Close another one first." : "Start it again.", code: "StreamLost" });
    this.ended();
  }
}

async function camera() {
  if (!navigator.mediaDevices) {
    const hint = "Open the page by 127.0.0.1 or over HTTPS.";
    throw Object.assign(new Error("The browser gives no camera to this address"), { hint });
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } } });
  } catch {
    const hint = "Give the browser leave to use it, or plug one in.";
    throw Object.assign(new Error("The camera was not opened"), { hint, code: "StreamLost" });
  }
}
