// Following a job to its end: its events, and what it found so far as a picture.

import { blob, get } from "./api.js";
import { events } from "./events.js";
import { Latest } from "./latest.js";

const AGAIN_MS = 1000;
const OVER = ["done", "cancelled", "failed"];

export const isOver = (job) => OVER.includes(job.state);

/** Follow a job. told(job), drawn(blob): called as it goes on. Returns it at its end.
 *
 * A stream that breaks off is no end: the service may have been started anew, and goes on. */
export async function follow(job, told, drawn) {
  const pictures = new Latest(
    (address) => blob(address),
    drawn,
    () => {}, // the next record brings another
  );
  let records = -1;
  for (;;) {
    try {
      for await (const { data } of events(`jobs/${job.id}/events`)) {
        job = data;
        told(job);
        if (job.picture && job.records !== records && !isOver(job)) {
          records = job.records;
          pictures.ask(job.picture);
        }
      }
    } catch (error) {
      if (error.status === 404) throw error;
    }
    if (isOver(job)) break;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    job = await get(`jobs/${job.id}`).catch(() => job);
  }
  pictures.drop();
  if (job.picture) drawn(await blob(job.picture));
  return job;
}
