// A picture becomes a file, with the bytes the service sent: they say how it was made.

import { make } from "./dom.js";

const SUFFIXES = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp" };

/** Save a blob under a name. */
export function keep(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: `${name}.${SUFFIXES[blob.type] ?? "png"}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
