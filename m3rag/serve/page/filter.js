// A filter as the reader writes it: key=value, key=a,b (any of the values), or JSON.

/** Return `{filter}` for a search, or nothing for an empty text. */
export function parseFilter(text) {
  const given = text.trim();
  if (!given) return {};
  if (given.startsWith("{")) {
    try {
      return { filter: JSON.parse(given) };
    } catch (error) {
      throw new Error(`The filter is not JSON: ${error.message}`);
    }
  }
  const at = given.indexOf("=");
  if (at < 1 || at === given.length - 1) {
    throw new Error("Write the filter as key=value, or as JSON.");
  }
  const values = given
    .slice(at + 1)
    .split(",")
    .map((value) => scalar(value.trim()));
  return { filter: { [given.slice(0, at).trim()]: values.length > 1 ? values : values[0] } };
}

/** Return a number or a truth value for a text that is one, else the text. */
function scalar(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? text : value;
  } catch {
    return text;
  }
}
