// SPDX-License-Identifier: Apache-2.0
import { ask, token } from "./api.js";
import { Chart } from "./chart.js";
import { Table } from "./connections.js";
import { Rates, perPath, subflowCounters } from "./rates.js";
import { Subscribers } from "./subscribers.js";
import { age, count, element, rate } from "./text.js";

const limit = 2000; // connections that are looked at
const at = (id) => document.getElementById(id);
const chart = new Chart(at("chart"), at("legend"));
const table = new Table(at("connections"), at("count"), { kick, choose });
const members = new Subscribers(at("users-section"), at("users"), chooseAll);
const rates = { all: new Rates(), connections: new Rates(), subflows: new Rates(), subscribers: new Rates() };
let may = false; // a token was accepted
let pathsKnown = true;
let started = ""; // the gateway that has the connections

function problem(err) {
  at("problem").hidden = !err;
  at("problem").textContent = err ? (err.status ? err.message : "Tandem does not answer: " + err.message) : "";
}

function list(id, items, none) {
  at(id).replaceChildren(...(items.length ? items : [element("li", { class: "note" }, none)]));
}

function showStatus(s, now) {
  const c = s.connections;
  const r = rates.all.take(new Map([["accepted", c.accepted], ["up", c.bytes_up], ["down", c.bytes_down]]), now);
  at("about").textContent = `${s.version}, ${s.state} for ${age(s.uptime_seconds)}, Linux ${s.kernel.release}` + (s.kernel.mptcp.ok ? "" : ", no MPTCP") + (s.kernel.ebpf.ok ? "" : ", without eBPF");
  const refused = Object.values(c.refused || {}).reduce((a, b) => a + b, 0);
  at("active").textContent = count(c.active);
  at("fresh").textContent = r.get("accepted").toFixed(1);
  at("up").textContent = rate(r.get("up"));
  at("down").textContent = rate(r.get("down"));
  at("mptcp").textContent = c.accepted ? Math.round((100 * c.client_mptcp) / c.accepted) + " %" : "–";
  at("refused").textContent = count(refused);
  const reasons = (what, of) => Object.entries(of || {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1])
    .map(([reason, n]) => element("li", {}, element("span", {}, `${what}: ${reason}`), element("span", {}, count(n))));
  list("refusals", [...reasons("refused", c.refused), ...reasons("fallback", c.fallbacks)], "None so far.");
  list("listeners", (s.listeners || []).map((l) => element("li", {}, element("span", {}, `${l.name} (${l.type})`), element("span", { class: l.mptcp ? "good" : "warn" }, l.mptcp ? "MPTCP" : "TCP: " + l.reason), element("small", {}, `${l.address} → ${l.upstream}`))), "None.");
  list("health", (s.upstreams || []).flatMap((u) => u.hops?.length
    ? u.hops.map((h) => element("li", {}, element("span", {}, h.name), element("span", { class: h.up ? "good" : "bad" }, h.up ? "up" : "down"), element("small", {}, (h.checked ? `checked in ${(h.check_seconds * 1000).toFixed(1)} ms` : "not checked yet") + (h.error ? `; last failure: ${h.error}` : ""))))
    : [element("li", {}, element("span", {}, u.name), element("span", { class: "note" }, u.type))]), "None.");
  return { in: r.get("down"), out: r.get("up") };
}

// showUsers lists subscribers, and users of listeners that have none.
function showUsers(connections, subscribers, connectionRates, now) {
  const users = new Map();
  for (const s of subscribers) users.set(s.name, { n: s.connections, bytes: s.bytes_up + s.bytes_down, rate: 0, subscriber: s });
  for (const c of connections) {
    if (!c.user) continue;
    const u = users.get(c.user) || { n: 0, bytes: 0, rate: 0 };
    u.rate += connectionRates.get(c.id) || 0;
    if (!u.subscriber) {
      u.n++;
      u.bytes += c.bytes_up + c.bytes_down;
    }
    users.set(c.user, u);
  }
  const grown = rates.subscribers.take(new Map(subscribers.map((s) => [s.session, s.bytes_up + s.bytes_down])), now);
  for (const u of users.values()) if (u.subscriber) u.rate = grown.get(u.subscriber.session) || 0;
  members.show(users, may);
}

async function paths() {
  if (!pathsKnown) return [];
  try {
    return (await ask("GET", "/v1/paths")).connections || [];
  } catch (err) {
    if (err.status !== 501) throw err;
    pathsKnown = false; // by this gateway, until the page is loaded again
    return [];
  }
}

async function look() {
  const [status, live, subflows, known] = await Promise.all([ask("GET", "/v1/status"), ask("GET", "/v1/connections?limit=" + limit), paths(), ask("GET", "/v1/subscribers?limit=" + limit)]);
  const now = performance.now();
  if (started && started !== status.started) {
    table.forget();
    rates.connections = new Rates();
  }
  started = status.started;
  const all = showStatus(status, now);
  const connections = live.connections || [];
  const byID = rates.connections.take(new Map(connections.map((c) => [c.id, c.bytes_up + c.bytes_down])), now);
  const series = perPath(rates.subflows.take(subflowCounters(subflows), now));
  chart.add(new Map([["relayed", all], ...[...series].sort((a, b) => a[0].localeCompare(b[0]))]), now);
  showUsers(connections, known.subscribers || [], byID, now);
  table.show({ connections, rates: byID, subflows: new Map(subflows.map((p) => [p.token, p])), may, more: live.more });
}

// The pause grows with what a look costs, so that a page nobody closes costs a
// busy gateway little. A page that nobody sees does not look.
async function watch() {
  for (;;) {
    const began = performance.now();
    if (!document.hidden) {
      try {
        await look();
        problem(null);
      } catch (err) {
        problem(err);
        if (err.status === 401 && !at("token-dialog").open) askForToken(token.get() ? "This token is not accepted any more." : "");
      }
    }
    const took = performance.now() - began;
    await new Promise((done) => setTimeout(done, Math.max(1000, 10 * took)));
  }
}

async function kick(id) {
  try {
    await ask("DELETE", "/v1/connections/" + id);
    await look();
  } catch (err) {
    problem(err);
  }
}

// choose changes options of a connection; it returns what went wrong.
async function choose(id, body) {
  try {
    await ask("PATCH", `/v1/connections/${id}/options`, { body });
    await look();
    return { wrong: "" };
  } catch (err) {
    return { wrong: err.message };
  }
}

// chooseAll changes options of all connections of a user, and tells of how many.
async function chooseAll(user, body) {
  try {
    const all = await ask("PATCH", "/v1/connections/options?user=" + encodeURIComponent(user), { body });
    await look();
    const reasons = Object.entries(all.refused).map(([why, n]) => `${count(n)}: ${why}`);
    return { wrong: reasons.join("; "), done: `changed ${count(all.changed)} of ${count(all.matched)}` };
  } catch (err) {
    return { wrong: err.message };
  }
}

function allowed(yes) {
  may = yes;
  at("token-open").textContent = yes ? "Token in use: forget it" : "Read only";
  table.draw();
}

function askForToken(why) {
  if (token.get()) {
    token.set("");
    allowed(false);
  }
  at("token-problem").hidden = !why;
  at("token-problem").textContent = why;
  at("token-dialog").showModal();
}

at("token-open").addEventListener("click", () => {
  if (may) {
    token.set("");
    allowed(false);
  } else {
    askForToken("");
  }
});
at("token-cancel").addEventListener("click", () => at("token-dialog").close());
at("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = at("token").value.trim();
  try {
    await ask("GET", "/v1/log-level", { given }); // a wrong token is refused even for reading
    token.set(given);
    at("token").value = "";
    at("token-dialog").close();
    allowed(true);
  } catch (err) {
    at("token-problem").hidden = false;
    at("token-problem").textContent = err.message;
  }
});
at("filter").addEventListener("input", () => { table.filter = at("filter").value; table.draw(); });
at("sort").addEventListener("change", () => { table.order = at("sort").value; table.draw(); });
if (token.get()) allowed(true);
watch();
