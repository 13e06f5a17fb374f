/**
 * Event patterns, as the wire has them: `*` is any run of characters, also none; `?` is one; `[abc]`
 * and `[a-z]` are one of these, `[!abc]` is none of these; everything else is itself, also a `[`
 * that nothing closes. A character is a Unicode code point.
 *
 * There are no regular expressions in it: a pattern with many stars would take them for ever.
 */

/** Any run of characters. */
const STAR = null;

/** @typedef {(character: string) => boolean} Takes whether it takes this character */

/**
 * @param {string} pattern
 * @returns {(name: string) => boolean} whether all of a name fits
 */
export function matcher(pattern) {
  const tokens = tokensOf([...pattern]);
  return (name) => fits(tokens, [...name]);
}

/**
 * Only the last star is ever tried anew: what those before it took fits whatever it takes more.
 *
 * @param {(Takes | null)[]} tokens
 * @param {string[]} name
 */
function fits(tokens, name) {
  let [t, n, star, from] = [0, 0, -1, 0];
  while (n < name.length) {
    const token = tokens[t];
    if (token === STAR) {
      star = t++;
      from = n;
    } else if (token?.(/** @type {string} */ (name[n]))) {
      t++;
      n++;
    } else if (star >= 0) {
      t = star + 1;
      n = ++from;
    } else return false;
  }
  while (tokens[t] === STAR) t++;
  return t === tokens.length;
}

/** @param {string[]} text its code points */
function tokensOf(text) {
  /** @type {(Takes | null)[]} */
  const tokens = [];
  for (let i = 0; i < text.length; ) {
    const character = text[i++];
    const negated = text[i] === "!";
    const first = negated ? i + 1 : i;
    // A set has a member, be it a ].
    const end = character === "[" ? text.indexOf("]", first + 1) : -1;
    if (character === "*") tokens.push(STAR);
    else if (character === "?") tokens.push(() => true);
    else if (end > 0) {
      const members = text.slice(first, end);
      tokens.push((c) => has(members, point(c)) !== negated);
      i = end + 1;
    } else tokens.push((c) => c === character);
  }
  return tokens;
}

/**
 * @param {string[]} members
 * @param {number} c a code point
 */
function has(members, c) {
  for (let i = 0; i < members.length; i++) {
    const low = point(members[i]);
    if (members[i + 1] === "-" && i + 2 < members.length) i += 2;
    if (low <= c && c <= point(members[i])) return true; // z-a has nothing in it
  }
  return false;
}

/** @param {string | undefined} character */
const point = (character) => /** @type {number} */ (character?.codePointAt(0));
