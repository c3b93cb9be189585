// Ways in: dropping, choosing, pasting, a sample portrait, a face that does not exist.

import { blob, get, post, send } from "./api.js";
import { at, make, show } from "./dom.js";
import { Faces } from "./faces.js";
import { counted, showFound } from "./found.js";
import { calm, complain, say } from "./say.js";

const LOOK_MS = 1400; // that a photograph is seen with its squares
const PROJECTED = 2; // faces of a photograph that are begun with at once; of crowds people choose

/** Wire all ways in. begin(face): called with faces to project. */
export function wireAdding({ faces, able, begin, busy }) {
  async function photograph(file, stem) {
    if (file.size > able.limits.body_bytes) {
      const most = Math.floor(able.limits.body_bytes / 2 ** 20);
      return complain({ message: `${stem} is larger than ${most} MB`, hint: "Scale it down first." });
    }
    calm();
    busy(`Looking for faces in ${stem} …`);
    try {
      const photo = await send("photos", file);
      const before = faces.chosen;
      const photoUrl = showFound(file, photo);
      const added = [];
      for (const out of photo.faces) {
        added.push(Object.assign(await faces.add(out, faces.freeName(stem)), { photoUrl }));
      }
      const few = added.length <= PROJECTED;
      say(`${counted(photo.found)} in ${stem}${few ? "" : ". Choose who to work with."}`);
      if (!few) return;
      for (const face of added) begin(face);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (faces.chosen === before) faces.choose(added[0]);
    } catch (error) {
      complain(error);
    } finally {
      busy("");
    }
  }

  async function all(files) {
    for (const file of files) await photograph(file, file.name?.replace(/\.[^.]*$/, "") || "photo");
  }

  async function invent() {
    calm();
    try {
      const seed = crypto.getRandomValues(new Uint32Array(1))[0];
      const out = await post("samples", { seed });
      faces.choose(await faces.add(out, faces.freeName("invented")));
    } catch (error) {
      complain(error);
    }
  }

  for (const id of ["choose", "welcome-choose"]) at(id).onclick = () => at("file").click();
  at("file").onchange = async () => {
    await all([...at("file").files]);
    at("file").value = "";
  };
  at("invent").onclick = invent;
  wireDrop(all);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter(isPicture);
    if (files.length) all(files);
  });
  wirePortraits(able.portraits, photograph);
  at("stays").textContent = whereItGoes();
  return { photograph };
}

function wireDrop(all) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    depth += 1;
    show(at("drop"));
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    show(at("drop"), depth > 0);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    show(at("drop"), false);
    all([...(event.dataTransfer?.files ?? [])]);
  });
}

function wirePortraits(addresses, photograph) {
  at("portraits").replaceChildren(
    ...addresses.map((address) => {
      const name = address.replace(/^.*\/|\.\w+$/g, "");
      const click = async () => {
        try {
          await photograph(await blob(address), name);
        } catch (error) {
          complain(error);
        }
      };
      return make(
        "button",
        { type: "button", onclick: click, ariaLabel: `Try the portrait ${name}` },
        make("img", { src: address, alt: "" }),
      );
    }),
  );
}

/** Where photographs go, in a sentence. */
function whereItGoes() {
  const here = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
  return here ? "It stays on this machine." : `It goes to ${location.host} alone.`;
}

const isPicture = (file) => file.type.startsWith("image/");

/** Bring back the faces of jobs that the service still has, after the page was loaded anew. */
export async function bringBack(faces, follow) {
  for (const job of await get("jobs")) {
    if (job.verb !== "project") continue;
    try {
      const out = await get(`faces/${job.faces.face}`);
      const face = await faces.add(out, faces.freeName(Faces.nameOf(out.id) ?? "face"));
      if (job.state === "waiting" || job.state === "running") follow(face, job);
    } catch (error) {
      if (error.status !== 404) throw error; // a face that was forgotten is no news
    }
  }
}
