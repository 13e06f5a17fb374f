// Written by `openapi types`. Do not edit it, but write it anew:
//
//     openapi types docs/examples/howto/typed_clients.py:create_app \
//         --typescript docs/examples/howto/orders_client.ts

import type {
  CallOptions,
  Client,
  History,
  Stream,
  StreamOptions,
  SubscribeOptions,
  Subscription,
} from "aio-openapi";

type HistoryOptions = NonNullable<Parameters<Client["history"]>[1]>;

/** A date and time of ISO 8601, as "2026-12-24T18:00:00Z". */
export type DateTime = string;

/** A number with all of its digits, as "12.50". */
export type Decimal = string;

export interface ItemInput {
  name: string;
  count?: number;
}

export interface Order {
  items: ItemInput[];
  gift?: boolean;
}

export interface Receipt {
  number: number;
  total: Decimal;
}

export interface Item {
  name: string;
  count: number;
}

/** How far an order is. */
export interface Progress {
  state: "packed" | "paid" | "sent";
  at: DateTime;
}

/**
 * The orders of a shop
 *
 * It is served at `/orders`.
 */
export class OrdersClient {
  readonly client: Client;

  constructor(client: Client) {
    this.client = client;
  }

  /** Order something */
  order(payload: Order, options?: CallOptions): Promise<Receipt> {
    return this.client.call<Receipt>("order", payload, options);
  }

  /** What there is of an item, and what is left whenever some is sold */
  stock(payload: ItemInput, options?: StreamOptions): Stream<Item> {
    return this.client.stream<Item>("stock", payload, options);
  }

  /** Subscribe to `orders:` and a name. */
  subscribeOrders(name: string, options?: SubscribeOptions<Progress>): Subscription<Progress> {
    return this.client.subscribe<Progress>(`orders:${name}`, options);
  }

  /** Read what is kept of `orders:` and a name. */
  historyOrders(name: string, options?: HistoryOptions): Promise<History<Progress>> {
    return this.client.history<Progress>(`orders:${name}`, options);
  }
}
