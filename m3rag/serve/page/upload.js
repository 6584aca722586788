// Uploads a document, and shows how far the server is with it.

import { call, get, inBase } from "./api.js";
import { byId, say } from "./dom.js";

const PAUSE = 300; // milliseconds between two questions about a job

/**
 * Let the reader upload documents.
 *
 * @param {function} base - Returns the knowledge base that gets them.
 * @param {function} refused - Handles an error.
 */
export function makeUpload(base, refused) {
  byId("upload").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter ?? byId("upload").querySelector("button");
    button.disabled = true;
    try {
      await upload(base(), byId("file").files[0]);
      byId("upload").reset();
    } catch (error) {
      refused(error, byId("upload-status"));
    } finally {
      button.disabled = false;
      byId("upload-progress").hidden = true;
    }
  });
}

async function upload(base, file) {
  const progress = byId("upload-progress");
  progress.removeAttribute("value");
  progress.hidden = false;
  say(byId("upload-status"), `Uploading ${file.name} …`);
  const form = new FormData();
  form.append("file", file);
  const sent = await call(inBase(base, "/documents"), { method: "POST", body: form });
  const { job } = await sent.json();
  for (;;) {
    const state = await get(`v1/jobs/${encodeURIComponent(job)}`);
    if (state.state === "failed") throw new Error(state.error.message);
    if (state.state === "done") break;
    if (state.total) [progress.max, progress.value] = [state.total, state.done];
    say(byId("upload-status"), `Reading ${file.name} …`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  say(byId("upload-status"), `${file.name} is in the knowledge base.`);
}
