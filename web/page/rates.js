// SPDX-License-Identifier: Apache-2.0
// What grows, per second.

// Rates turns counters with names into rates, from one look to the next.
export class Rates {
  #before = new Map();
  #at = 0;

  // take gives the rate of each counter; those that are new have none yet.
  take(counters, now) {
    const passed = (now - this.#at) / 1000;
    const rates = new Map();
    for (const [name, value] of counters) {
      const before = this.#before.get(name);
      rates.set(name, before === undefined || passed <= 0 ? 0 : Math.max(0, value - before) / passed);
    }
    this.#before = counters;
    this.#at = now;
    return rates;
  }
}

// pathOf names the path that a subflow takes on this machine.
export function pathOf(subflow) {
  return subflow.interface || subflow.local.replace(/:\d+$/, "");
}

// subflowCounters are the bytes of all subflows that are there, in both directions.
export function subflowCounters(connections) {
  const counters = new Map();
  for (const c of connections) {
    for (const s of c.subflows || []) {
      const name = [pathOf(s), c.token, s.local, s.remote].join(" ");
      counters.set(name + " out", s.bytes_sent);
      counters.set(name + " in", s.bytes_received);
    }
  }
  return counters;
}

// perPath sums rates of subflows: path → {in, out}.
export function perPath(rates) {
  const paths = new Map();
  for (const [name, value] of rates) {
    const words = name.split(" ");
    const path = paths.get(words[0]) || { in: 0, out: 0 };
    path[words.at(-1)] += value;
    paths.set(words[0], path);
  }
  return paths;
}
