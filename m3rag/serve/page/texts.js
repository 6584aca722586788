// Texts with marks. The server counts characters as Python does: by code points, not UTF-16 units.

/** Return the parts of an array of characters between two positions as a string. */
const slice = (characters, start, end) => characters.slice(start, end).join("");

/** Return the text of a passage as a model reads it, with the header of its table. */
const fullText = ({ text, table_header: header }) => (header ? `${header}\n${text}` : text);

/** Return where a passage stands: its document, the page, the headings above it. */
export function place(passage) {
  const { page, last_page: last } = passage.metadata ?? {};
  const pages = page === undefined ? [] : [last ? `pages ${page}–${last}` : `page ${page}`];
  const document = [passage.document_id ?? passage.id, ...pages].join(", ");
  return [document, ...(passage.headings ?? [])].join(" › ");
}

/**
 * Return the nodes of a passage's text: words of the query are marked, the best sentence underlined.
 *
 * @param {object} passage - The passage.
 * @param {object} explanation - What the server explains of the hit.
 */
export function marked(passage, explanation) {
  const characters = Array.from(fullText(passage));
  const above = characters.length - Array.from(passage.text).length;
  const { matched } = explanation;
  const largest = Math.max(...matched.map((token) => token.product), Number.MIN_VALUE);
  const marks = matched.flatMap((token) =>
    token.passage
      .filter((at) => at.start < at.end)
      .map((at) => ({ ...at, strength: token.product / largest })),
  );
  const { start, end } = explanation.sentence ?? { start: 0, end: 0 };
  const best = { start: above + start, end: above + end };
  const edges = [0, characters.length, ...[best, ...marks].flatMap((span) => [span.start, span.end])];
  const cuts = [...new Set(edges)].sort((a, b) => a - b);
  return cuts.slice(1).map((stop, i) => part(characters, cuts[i], stop, marks, best));
}

/** Return one part of a text, which lies inside or outside of each mark as a whole. */
function part(characters, start, end, marks, best) {
  const inside = (span) => span.start <= start && end <= span.end;
  let node = document.createTextNode(slice(characters, start, end));
  const covering = marks.filter(inside).sort((a, b) => b.counts - a.counts || b.strength - a.strength);
  if (covering.length) {
    const mark = document.createElement("mark");
    mark.className = covering[0].counts ? "counts" : "";
    mark.style.setProperty("--strength", covering[0].strength.toFixed(2));
    mark.append(node);
    node = mark;
  }
  if (start < end && inside(best)) {
    const underlined = document.createElement("span");
    underlined.className = "best";
    underlined.append(node);
    node = underlined;
  }
  return node;
}
