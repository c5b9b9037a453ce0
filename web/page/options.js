// SPDX-License-Identifier: Apache-2.0
// Options of a connection: what is in force and why, and a form to change them.
import { element } from "./text.js";
import { all } from "./examples.js";

const examples = new Map(all);

const list = (values) => Object.entries(values || {}).map(([name, value]) => `${name}=${value}`).join(", ") || "nothing";

// optionsOf tells what was asked, granted and why.
export function optionsOf(c) {
  const out = [];
  const items = (c.options?.options || []).map((o) => element("li", { "data-option": o.option },
    `${o.option}=${o.value}` + (o.asked ? `, asked for ${o.asked}` : "") + `, by ${o.by}: ${o.why}` + (o.detail ? ` (${o.detail})` : "")));
  for (const m of c.options?.mistakes || []) items.push(element("li", {}, `${m.text}: ${m.why} (${m.detail})`));
  if (items.length) out.push(element("p", {}, element("strong", {}, "Options")), element("ul", {}, ...items));
  const h = c.asked_of_hop;
  if (h) out.push(element("p", {}, `Asked of the hop: ${list(h.asked)}; ` + (h.answered ? "granted: " + list(h.granted) : "no answer")));
  return out;
}

// OptionForm sets an option or takes it back. choose(change) returns what went
// wrong, and may tell what was done.
export class OptionForm {
  element;

  constructor(id, choose) {
    const option = element("select", { "aria-label": "Option", "data-focus": "option" + id }, ...all.map(([n]) => element("option", { value: n }, n)));
    const value = element("input", { "aria-label": "Value", "data-focus": "value" + id, autocomplete: "off", spellcheck: "false", size: 14, required: "" });
    const answer = element("span", { role: "status" });
    const change = async (change) => {
      const { wrong, done } = await choose(change);
      answer.className = wrong ? "bad" : "note";
      answer.textContent = [done, wrong].filter(Boolean).join("; ");
    };
    const suggest = () => { value.placeholder = examples.get(option.value); };
    option.addEventListener("change", suggest);
    suggest();
    const clear = element("button", { type: "button", class: "clear", "data-focus": "clear" + id }, "Take back");
    clear.addEventListener("click", () => change({ clear: [option.value] }));
    this.element = element("form", { class: "options" }, element("label", {}, "Option ", option), " ", element("label", {}, "Value ", value), " ",
      element("button", { type: "submit", "data-focus": "set" + id }, "Set"), " ", clear, " ", answer);
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      change({ set: { [option.value]: value.value.trim() } });
    });
  }
}
