"""The command that publishes without a server: on the broker that the servers share."""

import asyncio
from collections.abc import Sequence

from rich.text import Text

from openapi.cli.load import NoApplication, load
from openapi.cli.managers import Refused, managers
from openapi.cli.output import Output, printable
from openapi.errors import CannotPublish, DeclarationError
from openapi.protocol.stream import Position
from openapi.ws import ChannelRule, Publisher
from openapi.ws.publisher import NoRule

__all__ = ["publish"]


async def publish(
    out: Output,
    broker: str,
    channel: str,
    event: str,
    data: object,
    *,
    key: str | None,
    app: str | None,
    timeout: float,
) -> None:
    """Publish a message and show where it is.

    ``app`` is the application whose rules hold, as ``MODULE:APP``. ``timeout`` is in seconds, for
    all that the broker has to do. Raises Refused where the command was used wrongly, and
    BrokenApplication.
    """
    rules = await _rules(app) if app is not None else ()
    try:
        publisher = Publisher(broker, channels=rules)
    except DeclarationError as exc:
        raise Refused(str(exc).removeprefix("Publisher: ")) from exc
    try:
        async with asyncio.timeout(timeout), publisher:
            if publisher.outage is not None:
                raise ConnectionError(f"the broker is away: {publisher.outage.reason}")
            if key is None:
                position = await publisher.publish(channel, event, data)
            else:
                position = await publisher.publish_once(channel, event, data, key=key)
    except NoRule as exc:
        advice = "name the application, as --app MODULE:APP, whose rule says how much"
        if app is not None:
            advice = f"{app} has no rule that says how much"
        raise CannotPublish(
            f"{channel!r} keeps history, and a message without a number is an error there: {advice}"
        ) from exc
    except TimeoutError:
        raise TimeoutError(
            f"the broker did not answer within {timeout:g} seconds; --timeout gives it more"
        ) from None
    _show(out, channel, event, position)


async def _rules(app: str) -> Sequence[ChannelRule]:
    try:
        found = managers(await load(app)())
    except NoApplication as exc:
        raise Refused(f"--app: {exc}") from exc
    if len(found) != 1:
        where = " and ".join(each.where for each in found)
        has = f"has {len(found)} managers, in {where}" if found else "has no SocketsManager"
        raise Refused(
            f"--app: {app} {has}: name an application with one, or publish by a program, with a"
            " Publisher(…, channels=[…])"
        )
    return found[0].manager.rules.all


def _show(out: Output, channel: str, event: str, position: Position | None) -> None:
    if not out.human:
        offset, epoch = (None, None) if position is None else (position.offset, position.epoch)
        out.show({"channel": channel, "event": event, "offset": offset, "epoch": epoch})
        return
    where = "" if position is None else f", at offset {position.offset}"
    out.render(Text(f"published {printable(event)} to {printable(channel)}{where}"))
