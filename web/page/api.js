// SPDX-License-Identifier: Apache-2.0
// The interface of the gateway that has served this page.

const key = "tandem-token";

export const token = {
  get: () => sessionStorage.getItem(key) || "",
  set: (value) => (value ? sessionStorage.setItem(key, value) : sessionStorage.removeItem(key)),
};

// ask makes a request; errors have the status of the answer, and its hint.
export async function ask(method, path, { given = token.get(), body } = {}) {
  const headers = given ? { Authorization: "Bearer " + given } : {};
  const answer = await fetch(path, { method, headers, cache: "no-store", body: body && JSON.stringify(body) });
  if (answer.status === 204) return null;
  const said = await answer.json();
  if (!answer.ok) {
    throw Object.assign(new Error(said.hint ? said.error + ": " + said.hint : said.error), { status: answer.status });
  }
  return said;
}
