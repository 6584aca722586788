// The page: it asks the server, and shows what was found and why.

import { dropKey, get, hasKey, inBase, Refused, setKey } from "./api.js";
import { hideAnswer, showAnswer } from "./answer.js";
import { byId, element, say } from "./dom.js";
import { parseFilter } from "./filter.js";
import { fused, goTo, showHits } from "./hits.js";
import { openDocument } from "./reader.js";
import { makeUpload } from "./upload.js";
import { makeWeights, showWeights, wanted } from "./weights.js";

let bases = [];
let hits = [];
let answered = []; // the hits when the question was asked; citations number them
let asked = null; // ends the requests of the question before

const base = () => byId("base").value;

/** Show the knowledge bases that the reader may use. */
async function loadBases() {
  try {
    const found = await get("v1/kbs");
    bases = found.knowledge_bases;
  } catch (error) {
    return refused(error);
  }
  byId("base").replaceChildren(
    ...bases.map(({ name }) => element("option", { value: name }, name)),
  );
  byId("change-key").hidden = !hasKey();
  showBase();
  say(byId("status"), bases.length ? "" : "There is no knowledge base.");
  byId("question").focus();
}

/** Show what the chosen knowledge base contains. */
function showBase() {
  const chosen = bases.find(({ name }) => name === base());
  byId("about").textContent = chosen
    ? `${chosen.passages} passages · ${chosen.model}`
    : "";
  byId("add").hidden = !chosen?.writable;
  clear();
}

/** Take away what was found. */
function clear() {
  answered = [];
  show([]);
  hideAnswer();
}

/** Show passages, and how they moved since the question was asked. */
function show(found) {
  hits = found;
  const ranks = new Map(answered.map((hit, i) => [hit.passage.id, i + 1]));
  showHits(hits, { ranks, open });
}

/** Return the settings of a search. */
const settings = () => ({
  k: Number(byId("k").value),
  weights: wanted(),
  ...parseFilter(byId("filter").value),
});

/** Run requests for the question, which end those before; errors are shown. */
async function run(requests) {
  const question = byId("question").value.trim();
  if (!question || !base()) return;
  asked?.abort();
  asked = new AbortController();
  try {
    await requests(question, settings(), asked.signal);
  } catch (error) {
    if (error.name !== "AbortError") refused(error);
  }
}

/** Answer the question. */
const ask = () =>
  run(async (question, given, signal) => {
    say(byId("status"), "Searching …");
    clear();
    const found = (passages) => {
      answered = passages;
      show(passages);
      if (passages.length) showWeights(passages[0].explanation.channels);
      const number = passages.length;
      say(byId("status"), number === 1 ? "1 passage found." : `${number} passages found.`);
    };
    const cite = (number) => open(answered[number - 1]);
    await showAnswer(base(), { question, ...given }, { signal, found, cite });
  });

/** Search again with other weights; the answer stays. */
const search = () =>
  run(async (query, given, signal) => {
    const json = { query, ...given, explain: true };
    show((await get(inBase(base(), "/search"), { json, signal })).hits);
    if (hits.length) showWeights(hits[0].explanation.channels);
  });

/** Show the document of a hit. */
async function open(hit) {
  if (hit === undefined) return;
  try {
    await openDocument(base(), hit.passage);
  } catch (error) {
    refused(error);
  }
}

/** Order the passages by weights that the reader is changing, before the server has searched. */
function reorder(weights) {
  const scores = new Map(hits.map((hit) => [hit, fused(hit, weights)]));
  if ([...scores.values()].some((score) => score === null)) return;
  show([...hits].sort((a, b) => scores.get(b) - scores.get(a)));
}

/** Say what went wrong; ask for a key if that is what is missing. */
function refused(error, place = byId("status")) {
  say(place, error.message, true);
  if (error instanceof Refused && error.status === 401) {
    dropKey();
    if (!byId("key").open) byId("key").showModal();
  }
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("base").addEventListener("change", showBase);
byId("change-key").addEventListener("click", () => byId("key").showModal());
byId("key-form").addEventListener("submit", () => {
  setKey(byId("key-text").value.trim());
  byId("key-text").value = "";
  loadBases();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("question").focus();
  }
});
document.querySelector(".skip").addEventListener("click", () => goTo(1));
makeWeights(reorder, search);
makeUpload(base, refused);
loadBases();
