import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { matcher } from "../src/patterns.js";

/** @type {[pattern: string, fits: string[], not: string[]][]} */
const TABLE = [
  ["*", ["", "a", "a\nb", "😀"], []],
  ["", [""], ["a"]],
  ["cpu", ["cpu"], ["", "cp", "cpus", "CPU"]],
  ["c*", ["c", "cpu", "c\n"], ["", "acpu"]],
  ["*u", ["u", "cpu", "uu"], ["", "cpus"]],
  ["a*b*c", ["abc", "a1b2c", "abcbc", "abbcc"], ["ab", "abcb", "acb"]],
  ["**", ["", "ab"], []],
  ["a**b", ["ab", "axb"], ["a", "b"]],
  ["?", ["a", "😀", "\n"], ["", "ab", "👩‍👩"]],
  ["a?c", ["abc"], ["ac", "abbc"]],
  ["[abc]", ["a", "b", "c"], ["", "d", "ab"]],
  ["[a-c]x", ["ax", "bx", "cx"], ["dx", "-x", "x"]],
  ["[!abc]", ["d", "😀", "!"], ["a", "b", "c", "", "dd"]],
  ["[!a-c]", ["d", "-"], ["a", "b"]],
  ["[]]", ["]"], ["[", "[]]"]],
  ["[!]]", ["a"], ["]", ""]],
  ["[]a]", ["]", "a"], ["b"]],
  ["[a", ["[a"], ["a", "["]],
  ["[", ["["], ["", "a"]],
  ["[]", ["[]"], ["", "]"]],
  ["[!]", ["[!]"], ["a", "!"]],
  ["[a-]", ["a", "-"], ["b"]],
  ["[-a]", ["a", "-"], ["b"]],
  ["[z-a]", [], ["a", "z", "m", "-"]],
  ["[!z-a]", ["a", "z"], [""]],
  ["[a!]", ["a", "!"], ["b"]],
  ["[😀-😎]", ["😀", "😃", "😎"], ["a", "😏"]],
  ["[\uE000-\uFFFF]", ["\uF000"], ["😀"]],
  ["a.b", ["a.b"], ["axb"]],
  ["a]b", ["a]b"], ["ab"]],
  ["(a+)$", ["(a+)$"], ["aa"]],
  ["user.[0-9]*", ["user.1", "user.42"], ["user.", "user.x"]],
];

describe("a pattern", () => {
  for (const [pattern, fits, not] of TABLE) {
    it(`${JSON.stringify(pattern)} fits what it says`, () => {
      const matches = matcher(pattern);
      assert.deepEqual(fits.filter((name) => !matches(name)), []);
      assert.deepEqual(not.filter((name) => matches(name)), []);
    });
  }

  it("of many stars takes no more steps than there are pairs of characters", () => {
    // By trying every way there would be more than there are atoms.
    assert.equal(matcher("*a".repeat(40) + "b")("a".repeat(400)), false);
  });
});
