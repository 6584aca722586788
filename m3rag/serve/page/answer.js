// The answer: the best sentence, or what a language model writes, as it arrives.

import { call, events, inBase } from "./api.js";
import { byId, element } from "./dom.js";

const CITATION = /\[(\d+)\]/;

/**
 * Ask, and show the answer.
 *
 * @param {string} base - The knowledge base.
 * @param {object} request - The question and the settings of the search.
 * @param {object} shown - `signal` ends it; `found(hits)` gets the passages before anything is
 *   written; `cite(number)` shows a cited passage.
 */
export async function showAnswer(base, request, { signal, found, cite }) {
  const text = byId("answer-text");
  const note = byId("answer-note");
  text.replaceChildren();
  note.textContent = "";
  const json = { ...request, explain: true, stream: true };
  for await (const event of events(await call(inBase(base, "/ask"), { json, signal }))) {
    if (event.type === "error") throw new Error(event.error.message);
    if (event.type === "hits") found(event.hits);
    if (event.type === "token") text.append(event.text);
    if (event.type === "answer") finish(event, text, note, cite);
    byId("answer").hidden = !text.hasChildNodes();
  }
}

/** Hide the answer. */
export function hideAnswer() {
  byId("answer").hidden = true;
}

function finish(answer, text, note, cite) {
  if (answer.text) {
    text.replaceChildren(...cited(answer.text, cite));
    note.textContent = answer.supported
      ? "Written by a language model. Citations and quotations were checked."
      : "Written by a language model. It cites no passage, or quotes what no passage says.";
  } else if (answer.answer) {
    text.replaceChildren(answer.answer.text, " ", citation(1, cite));
    note.textContent = "The sentence that matches best.";
  } else {
    text.replaceChildren("Nothing in the knowledge base answers the question.");
    note.textContent = answer.hits.length ? "These are the nearest passages." : "";
  }
}

/** Return a text with a button for each citation such as [1]. */
function cited(text, cite) {
  return text.split(/(\[\d+\])/).map((part) => {
    const number = part.match(CITATION);
    return number && number[0] === part ? citation(Number(number[1]), cite) : part;
  });
}

function citation(number, cite) {
  const label = `Passage ${number}`;
  const button = element("button", { type: "button", className: "cite", ariaLabel: label }, `${number}`);
  button.addEventListener("click", () => cite(number));
  return button;
}
