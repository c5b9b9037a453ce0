// SPDX-License-Identifier: Apache-2.0
// Figures as people read them.

export function count(n) {
  return n.toLocaleString("en");
}

function scaled(n, units) {
  let i = 0;
  while (n >= 999.5 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return (i > 0 && n < 9.95 ? n.toFixed(1) : n.toFixed(0)) + " " + units[i];
}

export const bytes = (n) => scaled(n, ["B", "kB", "MB", "GB", "TB", "PB"]);

// rate takes bytes per second.
export const rate = (n) => scaled(n * 8, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);

export function age(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h";
  return Math.floor(s / 86400) + " d";
}

// element makes one; strings become text, never markup: names and errors come
// from clients and servers.
export function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}
