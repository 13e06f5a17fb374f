"""A program that uses the typed client of the orders."""

from yarl import URL

from docs.examples.howto.orders_client import Item, Order, OrdersClient
from openapi.client import connect


# [use]
async def buy(url: URL) -> None:
    async with connect(url) as client:
        orders = OrdersClient(client)
        async with orders.subscribe_orders("7") as progress:
            receipt = await orders.order(Order(items=[Item(name="tea", count=2)]), timeout=5)
            print(receipt.number, receipt.total + 1)
            message = await anext(progress)
            print(message.data.state, message.data.at.year)
        async for item in orders.stock(Item(name="tea", count=3)):
            print(item.name, item.count)


# [/use]
