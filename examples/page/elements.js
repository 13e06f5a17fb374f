/** Elements of the page. What others wrote comes into them as text, and never as markup. */

/**
 * The element that is there, in the page or in another.
 *
 * @param {string} selector
 * @param {ParentNode} [within]
 * @returns {any} of the kind that the page has there
 */
export function find(selector, within = document) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

/**
 * A new element.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} kind its classes
 * @param {...(string | Node)} children text, or elements
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, kind, ...children) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

/**
 * Have an element show a text. A screen reader is not told of a text that is the same.
 *
 * @param {Element} shown
 * @param {string} text
 */
export function say(shown, text) {
  if (shown.textContent !== text) shown.textContent = text;
}
