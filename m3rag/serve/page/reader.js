// A document, opened at a passage.

import { get, inBase } from "./api.js";
import { byId, element } from "./dom.js";

/** Show the document of a passage, with the passage in sight. */
export async function openDocument(base, passage) {
  const id = passage.document_id ?? passage.id;
  const path = id.split("/").map(encodeURIComponent).join("/");
  const whole = await get(inBase(base, `/documents/${path}`));
  const { start, end } = placeOf(passage, whole.passages);
  const text = whole.passages.map((one) => one.adds).join("");
  const found = element("mark", { className: "found", tabIndex: -1 }, text.slice(start, end));
  byId("document-title").textContent = whole.title;
  byId("document-text").dir = "auto";
  byId("document-text").replaceChildren(text.slice(0, start), found, text.slice(end));
  byId("document").showModal();
  found.scrollIntoView({ block: "center" });
  found.focus({ preventScroll: true });
}

/** Return where a passage is in the text that all passages make together. */
function placeOf(passage, passages) {
  let end = 0;
  let text = "";
  for (const one of passages) {
    text += one.adds;
    end = text.length;
    if (one.id === passage.id) {
      const start = text.lastIndexOf(one.text);
      return start < 0 ? { start: end - one.adds.length, end } : { start, end: start + one.text.length };
    }
  }
  return { start: 0, end: 0 };
}

byId("close-document").addEventListener("click", () => byId("document").close());
