// SPDX-License-Identifier: Apache-2.0
// The list of subscribers and users, with a form for the options of all
// connections of one.
import { OptionForm } from "./options.js";
import { bytes, count, element, rate } from "./text.js";

const shown = 20; // at most

export class Subscribers {
  #section;
  #list;
  #choose; // of all connections of a user
  #forms = new Map(); // those that are open, by name: they outlive that the list is made anew

  constructor(section, list, choose) {
    this.#section = section;
    this.#list = list;
    this.#choose = choose;
  }

  // show takes name → {n, bytes, rate, subscriber}.
  show(users, may) {
    const active = document.activeElement;
    // To make the list anew would close one that somebody chooses from.
    if (this.#list.contains(active) && active.tagName === "SELECT") return;
    if (!may) this.#forms.clear();
    for (const name of this.#forms.keys()) if (!users.has(name)) this.#forms.delete(name);
    const most = [...users].sort((a, b) => b[1].rate - a[1].rate || b[1].bytes - a[1].bytes).slice(0, shown);
    const focused = this.#list.contains(active) && active.dataset.focus; // it is made anew
    this.#section.hidden = users.size === 0;
    this.#list.replaceChildren(...most.map(([name, u]) => this.#item(name, u, () => this.show(users, may), may)));
    if (focused) this.#list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #item(name, u, again, may) {
    const details = [`${count(u.n)} ${u.n === 1 ? "connection" : "connections"}, ${bytes(u.bytes)}`];
    const s = u.subscriber;
    if (s) details.unshift(`policy ${s.policy}`);
    for (const n of s?.access_networks || []) details.push(`${n.name}: ${bytes(n.bytes_up)} up, ${bytes(n.bytes_down)} down`);
    const item = element("li", {}, element("span", {}, name), element("span", {}, rate(u.rate)), element("small", {}, details.join("; ")));
    if (s?.quota) {
      const used = Math.min(100, (100 * s.quota.used) / s.quota.bytes);
      item.append(element("small", { class: s.quota.over ? "bad" : "" }, `${bytes(s.quota.used)} of ${bytes(s.quota.bytes)} per ${s.quota.period} (${used.toFixed(used < 10 ? 1 : 0)} %)` + (s.quota.over ? ": used up, at the reduced rate" : "")));
    }
    if (may) {
      const open = this.#forms.has(name);
      const button = element("button", { type: "button", class: "link", "aria-expanded": open, "aria-label": "Options of all connections of " + name, "data-focus": "options of " + name }, "Options of all connections");
      button.addEventListener("click", () => {
        if (!this.#forms.delete(name)) this.#forms.set(name, new OptionForm(" of all of " + name, (change) => this.#choose(name, change)));
        again();
      });
      item.append(button);
      if (open) item.append(this.#forms.get(name).element);
    }
    return item;
  }
}
