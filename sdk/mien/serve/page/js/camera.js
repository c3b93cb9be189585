// A photograph from the camera, in a dialog.

import { at } from "./dom.js";

const CLOSED = "The camera was not opened. Does the browser have leave to use it?";

/** Wire the dialog. taken(file): called with a JPEG. */
export function wireCamera(taken) {
  const dialog = at("camera");
  const video = at("camera-picture");
  let stream = null;

  async function open() {
    dialog.showModal();
    at("camera-text").textContent = "Opening the camera …";
    at("camera-take").disabled = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 1280 }, facingMode: "user" },
      });
      video.srcObject = stream;
      await video.play();
      at("camera-text").textContent = "";
      at("camera-take").disabled = false;
      at("camera-take").focus();
    } catch {
      at("camera-text").textContent = CLOSED;
    }
  }

  function close() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
  }

  function take() {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((file) => taken(file, "camera"), "image/jpeg", 0.92);
    dialog.close();
  }

  for (const id of ["take", "welcome-take"]) at(id).onclick = open;
  at("camera-take").onclick = take;
  at("camera-close").onclick = () => dialog.close();
  dialog.addEventListener("close", close);
}
