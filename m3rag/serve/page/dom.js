// Elements of the page. Texts are always text: nothing here, or elsewhere, writes markup.

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * Return a new element.
 *
 * @param {string} name - The name of the element.
 * @param {object} [properties] - Properties of the element, such as `className`.
 * @param {...(Node|string|null)} children - Its content; strings become text.
 */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Show a message where the reader expects it; an error is marked as one. */
export function say(place, message, bad = false) {
  place.textContent = message;
  place.classList.toggle("bad", bad);
}

/** Return a table of texts and figures, in a box that scrolls on narrow screens. */
export function table(title, head, rows) {
  const column = (text) => element("th", { scope: "col" }, text);
  const cell = (value) =>
    typeof value === "number"
      ? element("td", { className: "figure" }, value.toFixed(4))
      : element("td", {}, element("bdi", {}, value));
  return element(
    "div",
    { className: "scroll", tabIndex: 0, role: "region", ariaLabel: title },
    element(
      "table",
      {},
      element("caption", {}, title),
      element("thead", {}, element("tr", {}, ...head.map(column))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell)))),
    ),
  );
}
