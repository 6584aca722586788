// Calls of the server. A key stays in the session storage of this tab.

const KEY = "m3rag-key";

/** An error that the server answered, with its status. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const setKey = (key) => sessionStorage.setItem(KEY, key);
export const dropKey = () => sessionStorage.removeItem(KEY);

/**
 * Call a route, relative to the page, so that a proxy may put both below a path.
 *
 * @param {string} path - The path, such as "v1/kbs".
 * @param {object} [options] - `json` is sent as JSON; the rest, without headers, goes to `fetch`.
 * @returns {Promise<Response>} A response without an error.
 */
export async function call(path, { json, ...options } = {}) {
  const headers = new Headers();
  if (hasKey()) headers.set("Authorization", `Bearer ${sessionStorage.getItem(KEY)}`);
  if (json !== undefined) {
    headers.set("Content-Type", "application/json");
    options = { method: "POST", body: JSON.stringify(json), ...options };
  }
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is it running?");
  }
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response;
}

/** Call a route and return its JSON. */
export const get = async (path, options) => (await call(path, options)).json();

/** Return the path of a knowledge base, or of something in it. */
export const inBase = (base, rest = "") => `v1/kbs/${encodeURIComponent(base)}${rest}`;

/** Yield the values of a stream of server-sent events; each has one line, as the server writes it. */
export async function* events(response) {
  let left = "";
  for await (const part of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (left + part).split("\n\n");
    left = blocks.pop();
    for (const block of blocks) yield JSON.parse(block.slice("data: ".length));
  }
}

async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function reason(response) {
  try {
    const { error } = await response.json();
    return error.message ?? String(error);
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`;
  }
}
