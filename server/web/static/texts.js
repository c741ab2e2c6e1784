/** Texts in the reader's language, and days and numbers as that language writes them. */
import de from "./de.js";
import en from "./en.js";

const LANGUAGES = {de, en};
let language = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES) ?? "en";

/** The text of `key`, with `values` in place of {names}. */
export function t(key, values = {}) {
  return LANGUAGES[language][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export const current = () => language;

/** Switch the language, and write the texts of the page anew. */
export function speak(tag = language) {
  language = tag;
  document.documentElement.lang = tag;
  for (const [selector, write] of [
    ["t", (node, text) => { node.textContent = text; }],
    ["t-label", (node, text) => node.setAttribute("aria-label", text)],
    ["t-placeholder", (node, text) => node.setAttribute("placeholder", text)],
  ]) {
    for (const node of document.querySelectorAll(`[data-${selector}]`)) {
      const values = node.dataset.values ? JSON.parse(node.dataset.values) : {};
      write(node, t(node.getAttribute(`data-${selector}`), values));
    }
  }
}

/** The day of an ISO time where it was written, which is its first ten characters. */
export function day(iso) {
  const date = new Date(`${iso.slice(0, 10)}T00:00Z`);
  if (Number.isNaN(date.getTime())) return iso;
  return new Intl.DateTimeFormat(language, {dateStyle: "medium", timeZone: "UTC"}).format(date);
}

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, {maximumFractionDigits: digits}).format(value);

/** Milliseconds as seconds, with the unit. */
export const seconds = (ms) => `${number(ms / 1000, ms < 10_000 ? 2 : 0)} s`;
