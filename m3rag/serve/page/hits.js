// The passages that were found, with the reasons, in the order of their scores.

import { byId, element, table } from "./dom.js";
import { marked, place } from "./texts.js";

export const CHANNELS = ["dense", "sparse", "colbert", "bm25"];

/** Return the score of a hit with other weights; null if a channel with a weight was not scored. */
export function fused(hit, weights) {
  const counted = CHANNELS.filter((name) => weights[name] > 0);
  if (!counted.length || counted.some((name) => hit[name] === null)) return null;
  const sum = counted.reduce((total, name) => total + weights[name], 0);
  return counted.reduce((total, name) => total + weights[name] * hit[name], 0) / sum;
}

/**
 * Show hits in their order.
 *
 * @param {object[]} hits - The hits, best first, with explanations.
 * @param {object} shown - `ranks`: the former rank by passage id; `open(hit)`: shows its document.
 */
export function showHits(hits, { ranks, open }) {
  byId("hits-title").hidden = hits.length === 0;
  byId("hits").replaceChildren(...hits.map((hit, i) => item(hit, i + 1, ranks, open)));
}

/** Scroll to the passage with a number, as it is cited, and focus it. */
export function goTo(number) {
  const hit = byId("hits").children[number - 1];
  hit?.scrollIntoView({ block: "center" });
  hit?.querySelector("button").focus({ preventScroll: true });
}

function item(hit, rank, ranks, open) {
  const { passage, explanation } = hit;
  const text = element("p", { className: "text", dir: "auto" }, ...marked(passage, explanation));
  const button = element("button", { type: "button" }, "Show in the document");
  button.addEventListener("click", () => open(hit));
  return element(
    "li",
    {},
    element(
      "div",
      { className: "top" },
      element("span", { className: "number" }, `${rank}`),
      element("h3", { dir: "auto" }, place(passage)),
      element("span", { className: "quiet" }, moved(ranks.get(passage.id), rank)),
      element("span", { className: "score" }, hit.score.toFixed(3)),
    ),
    bar(explanation.channels),
    legend(explanation.channels),
    text,
    button,
    why(explanation),
  );
}

/** Return how a hit moved since the weights were others. */
function moved(before, now) {
  if (before === undefined || before === now) return "";
  const by = Math.abs(before - now);
  return before > now ? `▲ ${by} up` : `▼ ${by} down`;
}

function bar(channels) {
  const positive = channels.filter((channel) => channel.share > 0);
  const whole = positive.reduce((sum, channel) => sum + channel.share, 0);
  const parts = positive.map((channel) => {
    const part = element("span", { className: channel.name });
    part.style.inlineSize = `${(100 * channel.share) / whole}%`;
    return part;
  });
  return element("div", { className: "shares", ariaHidden: "true" }, ...parts);
}

function legend(channels) {
  const whole = channels.reduce((sum, channel) => sum + channel.share, 0) || 1;
  const entries = channels.map(({ name, score, share }) =>
    element(
      "li",
      {},
      element("span", { className: name }),
      `${name} ${score.toFixed(3)} · ${Math.round((100 * share) / whole)} %`,
    ),
  );
  return element("ul", { className: "legend", ariaLabel: "Shares of the channels" }, ...entries);
}

/** Return the tables of an explanation, folded. */
function why({ channels, matched, alignments, fusion }) {
  const ranked = fusion === "rrf";
  const tables = [
    table(
      "Channels",
      ["channel", "score", "weight", ...(ranked ? ["rank"] : []), "share"],
      channels.map((one) => [
        one.name,
        one.score,
        one.weight,
        ...(ranked ? [String(one.rank ?? "–")] : []),
        one.share,
      ]),
    ),
    table(
      "Matched tokens",
      ["token", "in the question", "in the passage", "product"],
      matched.map((one) => [one.piece, one.query_weight, one.passage_weight, one.product]),
    ),
    table(
      "Aligned tokens",
      ["question", "passage", "similarity"],
      alignments.map(({ query, passage, similarity }) => [
        query.text || query.piece,
        passage.text || passage.piece,
        similarity,
      ]),
    ),
  ];
  return element(
    "details",
    {},
    element("summary", {}, "Why this passage"),
    element("div", { className: "tables" }, ...tables),
  );
}
