// The weights of the channels, as sliders.

import { byId, element } from "./dom.js";
import { CHANNELS } from "./hits.js";

const inputs = new Map();
let chosen = false;

/**
 * Make the sliders.
 *
 * @param {function} moving - Called while a weight changes.
 * @param {function} changed - Called when a weight has changed.
 */
export function makeWeights(moving, changed) {
  for (const name of CHANNELS) {
    const id = `weight-${name}`;
    const input = element("input", { id, type: "range", min: 0, max: 1, step: 0.01, value: 0 });
    const output = element("output", {}, "0");
    output.htmlFor = id;
    inputs.set(name, { input, output });
    input.addEventListener("input", () => {
      chosen = true;
      output.textContent = input.value;
      moving(weights());
    });
    input.addEventListener("change", changed);
    const label = element("label", { htmlFor: id }, name);
    byId("weights").append(element("div", { className: "weight" }, label, input, output));
  }
  byId("usual-weights").addEventListener("click", () => {
    chosen = false;
    changed();
  });
}

/** Return the weights of the sliders by channel. */
export const weights = () =>
  Object.fromEntries(CHANNELS.map((name) => [name, Number(inputs.get(name).input.value)]));

/** Return what to search with: the usual weights, until the reader moves a slider. */
export function wanted() {
  if (!chosen) return "default";
  const positive = Object.entries(weights()).filter(([, weight]) => weight > 0);
  return positive.length ? Object.fromEntries(positive) : "default";
}

/** Let the sliders show the weights that the server used; only their proportions count. */
export function showWeights(channels) {
  if (chosen) return;
  const largest = Math.max(1, ...channels.map((channel) => channel.weight));
  for (const [name, { input, output }] of inputs) {
    const used = channels.find((channel) => channel.name === name)?.weight ?? 0;
    input.value = used / largest;
    output.textContent = input.value;
  }
}
