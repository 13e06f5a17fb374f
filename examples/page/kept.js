/**
 * A channel that keeps history, as a page shows it: what is kept, and then each message as it comes.
 *
 * |              | a message              | the connection is back, nothing is lost | messages are lost    |
 * |--------------|------------------------|-----------------------------------------|----------------------|
 * | it is loaded | waits for what is kept | what was missed comes as messages       | it is loaded anew    |
 * | it is live   | is shown               | what was missed comes as messages       | it is loaded anew    |
 */

/** @typedef {import("/openapi.js").Client} Client */
/** @typedef {import("/openapi.js").Position} Position */
/** @typedef {import("/openapi.js").Message} Message */

/**
 * @typedef {object} Shown
 * @property {(messages: Message[]) => void} load all that is kept, the oldest first
 * @property {(message: Message) => void} add
 * @property {(missed: number) => void} recovered the server has agreed, and so much came late
 * @property {() => void} lost messages are lost; what is kept is loaded next
 * @property {(error: unknown) => void} failed it will not be shown any more
 */

/** How many messages may wait for what is kept. Older ones are kept themselves. */
const WAITING = 2000;

export class KeptChannel {
  /** How many messages came since the page was opened. */
  received = 0;
  /** How many numbers were left out between two messages. That is never so. */
  skipped = 0;
  /** @type {number | null} the number of the first of these messages, in the epoch of the last */
  first = null;
  /** @type {Position | null} that of the last message */
  last = null;

  #client;
  #channel;
  #limit;
  #shown;
  /** @type {Message[] | null} what came while it is loaded */
  #waiting = null;
  /** Tells loads apart. */
  #loads = 0;

  /**
   * @param {Client} client
   * @param {string} channel
   * @param {number} limit of what is kept, so many are shown
   * @param {Shown} shown
   */
  constructor(client, channel, limit, shown) {
    this.#client = client;
    this.#channel = channel;
    this.#limit = limit;
    this.#shown = shown;
    const subscription = client.subscribe(channel, {
      timeout: null,
      onmessage: (message) => this.#take(message),
      onrenewed: ({ recovered }) => {
        if (!recovered) return; // onlost says so
        const before = this.received;
        // what was missed comes in this same step
        queueMicrotask(() => shown.recovered(this.received - before));
      },
      onlost: () => {
        this.last = this.first = null;
        shown.lost();
        this.#load();
      },
      onclose: (error) => {
        if (error) shown.failed(error);
      },
    });
    this.#waiting = [];
    subscription.opened().then(
      () => {
        shown.recovered(0);
        this.#load();
      },
      () => {}, // onclose has it
    );
  }

  async #load() {
    const load = ++this.#loads;
    this.#waiting = [];
    try {
      const options = { limit: this.#limit, reverse: true, timeout: null };
      const { messages, position } = await this.#client.history(this.#channel, options);
      if (load !== this.#loads) return; // and it is loaded again
      this.#shown.load(messages.reverse());
      const waiting = this.#waiting ?? [];
      this.#waiting = null;
      for (const message of waiting) {
        const at = message.position;
        if (!at || at.epoch !== position.epoch || at.offset > position.offset) this.#shown.add(message);
      }
    } catch (error) {
      if (load === this.#loads) this.#shown.failed(error);
    }
  }

  /** @param {Message} message */
  #take(message) {
    this.#count(message.position);
    if (!this.#waiting) return this.#shown.add(message);
    this.#waiting.push(message);
    if (this.#waiting.length > WAITING) this.#waiting.shift();
  }

  /** @param {Position | null} at */
  #count(at) {
    this.received++;
    if (!at) return;
    if (this.last?.epoch === at.epoch) this.skipped += at.offset - this.last.offset - 1;
    else this.first = at.offset;
    this.last = at;
  }
}
