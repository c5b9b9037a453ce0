// SPDX-License-Identifier: Apache-2.0
// The table of connections.
import { OptionForm, optionsOf } from "./options.js";
import { age, bytes, count, element, rate } from "./text.js";

const shown = 200; // rows at most
const protocol = (leg) => (leg ? (leg.mptcp ? "yes" : "no") : "–");
// Why a leg is plain TCP: the reasons of the interface.
const reasons = {
  not_asked: "not asked for", kernel_without: "this kernel has none", disabled: "switched off here (net.mptcp.enabled)",
  forbidden: "not allowed to this process", peer_tcp: "the other end speaks TCP, or something on the way took it away",
  fast_open: "lost with the data in the SYN", fallback: "lost after it was negotiated", syn_dropped: "SYNs that ask for it are dropped on the way",
  blackhole: "left alone by the kernel for a while, as SYNs that ask for it were dropped",
};
const connections = (n) => count(n) + (n === 1 ? " connection" : " connections");
const server = (c) => c.host || (c.server ? c.server.address : "–");

export class Table {
  #body;
  #count;
  #do; // kick(id) and choose(id, change)
  #open = new Set(); // IDs whose details are shown
  #forms = new Map(); // for options, by ID: they outlive that the rows are made anew
  #last = { connections: [], rates: new Map(), subflows: new Map(), may: false, more: false };
  filter = "";
  order = "rate";

  constructor(body, count, actions) {
    this.#body = body;
    this.#count = count;
    this.#do = actions;
  }

  // forget is for when IDs are those of other connections.
  forget() {
    this.#open.clear();
    this.#forms.clear();
  }

  show(last) {
    this.#last = last;
    // To make the rows anew would close a list that somebody chooses from.
    if (!this.#body.contains(document.activeElement) || document.activeElement.tagName !== "SELECT") this.draw();
  }

  #wanted(c) {
    const words = this.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const text = [c.id, c.phase, c.listener, c.user, c.host, c.hop, c.client.address, c.client.token, c.server?.address, c.server?.token].join(" ").toLowerCase();
    return words.every((w) => text.includes(w));
  }

  #key(c) {
    switch (this.order) {
      case "rate": return this.#last.rates.get(c.id) || 0;
      case "bytes": return c.bytes_up + c.bytes_down;
      case "age": return c.age_seconds;
      default: return c.id;
    }
  }

  draw() {
    const all = this.#last.connections;
    const wanted = all.filter((c) => this.#wanted(c)).sort((a, b) => this.#key(b) - this.#key(a) || a.id - b.id);
    const rows = wanted.slice(0, shown);
    this.#count.textContent = wanted.length === all.length
      ? connections(all.length) + (this.#last.more ? " looked at; there are more" : "")
      : count(wanted.length) + " of " + connections(all.length);
    if (rows.length < wanted.length) this.#count.textContent += ", " + shown + " shown";
    const focused = document.activeElement?.dataset?.focus; // the row is made anew
    this.#body.replaceChildren(...rows.flatMap((c) => (this.#open.has(c.id) ? [this.#row(c), this.#details(c)] : [this.#row(c)])));
    if (focused) this.#body.querySelector(`[data-focus="${focused}"]`)?.focus({ preventScroll: true });
    if (rows.length === 0) {
      this.#body.append(element("tr", {}, element("td", { colspan: 9, class: "full note" }, all.length ? "No connection matches the filter." : "No connections now.")));
    }
  }

  #row(c) {
    const cell = (label, text, kind = "") => element("td", { "data-label": label, class: kind }, text);
    const open = this.#open.has(c.id);
    const id = element("button", { type: "button", class: "id", "aria-expanded": open, "aria-label": "Connection " + c.id, "data-focus": "id" + c.id }, String(c.id));
    id.addEventListener("click", () => {
      if (!this.#open.delete(c.id)) this.#open.add(c.id);
      else this.#forms.delete(c.id);
      this.draw();
    });
    return element("tr", { "data-id": c.id },
      cell("ID", id), cell("Client", c.client.address + (c.user ? " (" + c.user + ")" : ""), "full"), cell("Server", server(c), "full"), cell("Via", c.hop || c.phase),
      cell("MPTCP", protocol(c.client) + " → " + protocol(c.server)), cell("Up", bytes(c.bytes_up), "n"), cell("Down", bytes(c.bytes_down), "n"),
      cell("Rate", rate(this.#last.rates.get(c.id) || 0), "n"), cell("Age", age(c.age_seconds), "n"));
  }

  #form(id) {
    if (!this.#forms.has(id)) this.#forms.set(id, new OptionForm(id, (change) => this.#do.choose(id, change)));
    return this.#forms.get(id).element;
  }

  #details(c) {
    const box = element("td", { colspan: 9, class: "full" });
    box.append(element("p", {}, `Listener ${c.listener}, ${c.phase}` + ((c.idle_seconds || 0) < 1 ? "" : `, idle for ${age(c.idle_seconds)}`) + (c.host && c.server ? `, server ${c.server.address}` : "")));
    for (const [name, leg] of [["Client", c.client], ["Server", c.server]]) {
      if (leg?.reason) box.append(element("p", {}, `${name} side without MPTCP: ${reasons[leg.reason] || leg.reason}`));
      const known = leg?.token && this.#last.subflows.get(leg.token);
      if (!known) continue;
      const list = known.subflows.map((s) => element("li", {}, `${s.interface ? s.interface + ": " : ""}${s.local} → ${s.remote}, ${s.state}${s.backup ? ", backup" : ""}, round trip ${(s.rtt_seconds * 1000).toFixed(1)} ms, ${bytes(s.bytes_sent)} out, ${bytes(s.bytes_received)} in`));
      box.append(element("p", {}, element("strong", {}, `${name} side, token ${leg.token}` + (known.manager ? `, path manager ${known.manager}` : ""))), element("ul", {}, ...list));
    }
    box.append(...optionsOf(c));
    if (this.#last.may) {
      box.append(this.#form(c.id));
      const kick = element("button", { type: "button", class: "kick", "data-focus": "kick" + c.id }, "End connection " + c.id);
      kick.addEventListener("click", () => this.#do.kick(c.id));
      box.append(kick);
    }
    return element("tr", { class: "more" }, box);
  }
}
