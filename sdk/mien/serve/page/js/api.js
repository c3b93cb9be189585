// The service's API: one place that knows addresses, the token, and what a refusal looks like.

const ROOT = "/api/v1";
const KEY = "mien-token";

/** What the service refused: code, message and hint, as every error of mien has them. */
export class Problem extends Error {
  constructor({ code = "Unreachable", message, hint = "" }, status = 0) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.status = status;
  }
}

const UNREACHABLE = {
  message: "The service does not answer",
  hint: "Is mien serve still running? This page tries again when you do.",
};

/** Take the token from the address, where it is not sent anywhere, and keep it for this tab. */
export function takeToken() {
  const found = /(?:^#|&)token=([\w-]+)/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem(KEY, found[1]);
  history.replaceState(null, "", location.pathname);
}

export const token = () => sessionStorage.getItem(KEY);

/** Send a request and return the response. Throws a Problem. */
export async function ask(path, { method = "GET", json, body, type, signal } = {}) {
  const headers = {};
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (type) headers["Content-Type"] = type;
  const address = path.startsWith("/") ? path : `${ROOT}/${path}`;
  let response;
  try {
    const sent = json === undefined ? body : JSON.stringify(json);
    response = await fetch(address, { method, headers, body: sent, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(UNREACHABLE);
  }
  if (response.ok) return response;
  const refusal = await response.json().catch(() => ({ message: `It answered ${response.status}` }));
  throw new Problem(refusal, response.status);
}

export const get = async (path) => (await ask(path)).json();
export const blob = async (path) => (await ask(path)).blob();
export const post = async (path, json = undefined) =>
  (await ask(path, { method: "POST", json })).json();

/** Send a picture's bytes. */
export const send = async (path, file) =>
  (await ask(path, { method: "POST", body: file, type: file.type || "image/jpeg" })).json();

/** Open the live session's WebSocket. The token goes as a subprotocol: there is no header. */
export function openLive() {
  const address = new URL(`${ROOT}/live`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const protocols = token() ? ["mien", `token.${token()}`] : ["mien"];
  return new WebSocket(address, protocols);
}
