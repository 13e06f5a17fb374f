/** Numbers and times as people read them. */

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-GB", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

const DAY = 86_400_000;
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** @param {number} value */
export const count = (value) => whole.format(value);

/** @param {number} value with one place behind the point */
export const decimal = (value) => tenths.format(value);

/** @param {number} value */
export const percent = (value) => `${tenths.format(value)} %`;

/** @param {number} mib */
export const size = (mib) => (mib < 1024 ? `${whole.format(mib)} MiB` : `${tenths.format(mib / 1024)} GiB`);

/** @param {number} kib in a second */
export const rate = (kib) => (kib < 1000 ? `${tenths.format(kib)} KiB/s` : `${tenths.format(kib / 1024)} MiB/s`);

/** @param {number} kib in a second, on an axis */
export function shortRate(kib) {
  if (!kib) return "0";
  return kib < 1024 ? `${Number(kib.toFixed(2))} K` : `${Number((kib / 1024).toFixed(2))} M`;
}

/** @param {number} ms since the epoch */
export const timeOfDay = (ms) => clock.format(ms);

/** @param {number} ms since the epoch, on an axis */
export const shortTime = (ms) => minute.format(ms);

/** @param {number} ms since the epoch; with the day if it was not in the last 24 hours */
export const moment = (ms) => (Date.now() - ms < DAY ? clock : day).format(ms);

/**
 * @param {number} number
 * @param {string} one
 * @param {string} many
 */
export const counted = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;
