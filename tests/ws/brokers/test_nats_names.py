"""What is called what on a NATS server, and where one is found."""

import ssl
from urllib.parse import urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.errors import DeclarationError
from openapi.ws.broker import broker_from_url
from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.nats.address import Address
from openapi.ws.brokers.nats.names import Names

NAMES = Names("app", 4)
TEXT = st.text(st.characters(), max_size=20)  # lone surrogates too


@given(TEXT, TEXT)
def test_each_channel_and_each_key_has_subjects_of_its_own(one: str, other: str) -> None:
    for of_channel in (NAMES.live, NAMES.log, NAMES.roster):
        assert (of_channel(one) == of_channel(other)) is (one == other)
    for of_key in (NAMES.key, NAMES.once):
        assert (of_key("c", one) == of_key("c", other)) is (one == other)
        assert (of_key(one, "k") == of_key(other, "k")) is (one == other)


@given(TEXT, TEXT)
def test_a_subject_has_as_many_tokens_whatever_the_channel_is_called(name: str, key: str) -> None:
    subjects = {
        NAMES.live(name): 3,
        NAMES.log(name): 4,
        NAMES.key(name, key): 4,
        NAMES.once(name, key): 4,
        NAMES.roster(name): 3,
    }
    for subject, tokens in subjects.items():
        assert len(list(filter(None, subject.split(".")))) == tokens
        assert not set(subject) & set(" *>\t\r\n\0")


def test_names_that_people_use_can_be_read_on_the_server() -> None:
    assert NAMES.live("orders:7") == "app.live.orders=3A7"
    assert NAMES.live("") == "app.live.="
    assert NAMES.logs == ["app_log_0", "app_log_1", "app_log_2", "app_log_3"]
    assert NAMES.roster("a.*") == "$KV.app_presence.a=2E=2A"
    assert NAMES.own("7") == "app.own.7"


def test_channels_are_spread_over_all_partitions() -> None:
    assert {NAMES.partition(f"c{number}") for number in range(100)} == {0, 1, 2, 3}


@pytest.mark.parametrize("prefix", ["", "a.b", "a b", "*", "ü", "x" * 65, "a\n"])
def test_a_prefix_that_is_no_token_is_refused(prefix: str) -> None:
    with pytest.raises(DeclarationError, match="must be 1 to 64 ASCII letters, digits, - and _"):
        NatsBroker(prefix=prefix)


# --- where it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "servers", "account"),
    [
        ("nats://host", ["nats://host:4222"], {}),
        ("nats://host:1", ["nats://host:1"], {}),
        ("nats://[::1]:1", ["nats://[::1]:1"], {}),
        ("tls://a:1,b", ["tls://a:1", "tls://b:4222"], {}),
        (
            "nats://me:s%40crt@a,b:2/",
            ["nats://a:4222", "nats://b:2"],
            {"user": "me", "password": "s@crt"},
        ),
        ("nats://t0k%2Fen@a", ["nats://a:4222"], {"token": "t0k/en"}),
    ],
)
def test_a_url_says_where_the_servers_are_and_who_one_is(
    url: str, servers: list[str], account: dict[str, str]
) -> None:
    address = Address(url)
    assert address.servers == servers
    assert address.options(servers[0]) == account
    assert "s@crt" not in address.name
    assert address.encrypted is url.startswith("tls")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("nats://", "names no host: nats://HOST:4222"),
        ("nats://me:s3cret@host:x", "cannot be read: Port could not be cast"),
        ("nats://me:s3cret@one:1,me:s3cret@two:2", "write it once, before the first one"),
        ("nats://me:s3cret@host/0", "ends with its hosts"),
        ("nats://me:s3cret@host?timeout=1", "are options of NatsBroker"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str, text: str) -> None:
    with pytest.raises(DeclarationError, match=text) as refusal:
        Address(url)
    assert "s3cret" not in str(refusal.value)


def test_servers_that_are_discovered_are_remembered_once_and_not_without_end() -> None:
    context = ssl.create_default_context()
    address = Address("tls://host.test", tls=context, credentials="my.creds")
    assert address.options("tls://host.test:4222") == {
        "user_credentials": "my.creds",
        "tls": context,
    }
    for _ in range(2):
        address.discovered([urlparse("tls://10.0.0.1:4222"), urlparse("tls://other.test:1")])
    assert address.servers[1:] == ["tls://10.0.0.1:4222", "tls://other.test:1"]
    # Its certificate has the name of the one that is known, for it has no other.
    assert address.options("tls://10.0.0.1:4222")["tls_hostname"] == "host.test"
    assert "tls_hostname" not in address.options("tls://other.test:1")
    address.discovered([urlparse(f"tls://10.0.1.{number}:1") for number in range(100)])
    assert len(address.servers) == 64


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_it_is_what_the_urls_of_nats_name(scheme: str) -> None:
    assert isinstance(broker_from_url(f"{scheme}://localhost"), NatsBroker)
