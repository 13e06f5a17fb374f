import { connect } from "aio-openapi";
import { OrdersClient } from "./orders_client.js";

// [use]
export async function buy(url: string): Promise<void> {
  const client = connect(url);
  const orders = new OrdersClient(client);
  const progress = orders.subscribeOrders("7", { onmessage: ({ data }) => console.log(data.state) });
  await progress.opened();
  const receipt = await orders.order({ items: [{ name: "tea", count: 2 }] }, { timeout: 5000 });
  console.log(receipt.number, receipt.total);
  for await (const item of orders.stock({ name: "tea", count: 3 })) console.log(item.count);
  await client.close();
}
// [/use]
