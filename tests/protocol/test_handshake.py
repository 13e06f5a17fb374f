import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from openapi.protocol.handshake import Accepted, Refused, check_origins, negotiate

# The request of RFC 6455 section 1.2.
REQUEST = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def ask(
    *more: tuple[str, str],
    without: str = "",
    method: str = "GET",
    scheme: str = "https",
    host: str = "server.example.com",
    origins: list[str] | None = None,
    subprotocols: tuple[str, ...] = (),
    deflate: bool = False,
) -> Accepted:
    """Negotiate the sample request with some headers more, and one less."""
    headers = CIMultiDict((name, value) for name, value in REQUEST.items() if name != without)
    headers.extend(more)
    return negotiate(
        method,
        headers,
        scheme=scheme,
        host=host,
        origins=origins,
        subprotocols=subprotocols,
        deflate=deflate,
    )


def refusal(*more: tuple[str, str], **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(*more, **options)  # type: ignore[arg-type]  # the options are those of ask
    return caught.value


def test_the_sample_of_the_rfc_gets_the_answer_of_the_rfc() -> None:
    assert ask() == Accepted(
        headers={
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        },
        subprotocol=None,
        deflate=None,
    )


@pytest.mark.parametrize("missing", ["Upgrade", "Connection"])
def test_a_plain_request_is_told_that_it_opens_no_websocket(missing: str) -> None:
    refused = refusal(without=missing)
    assert (refused.status, refused.message) == (400, "Unable to open websocket connection")
    assert refused.headers == {}
    assert str(refused) == "Unable to open websocket connection (400)"


def test_an_upgrade_to_something_else_is_a_plain_request() -> None:
    assert refusal(("Upgrade", "h2c"), without="Upgrade").status == 400


def test_the_upgrade_may_be_one_of_several_in_any_case_and_on_any_line() -> None:
    accepted = ask(
        ("upgrade", "h2c,  WebSocket"),
        ("connection", "keep-alive"),
        ("connection", "foo,\tuPGRADE"),
        without="Upgrade",
    )
    assert accepted.headers["Sec-WebSocket-Accept"]


def test_another_method_than_get_is_refused() -> None:
    refused = refusal(method="POST")
    assert (refused.status, "GET" in refused.message) == (400, True)


@pytest.mark.parametrize("version", ["8", "7", "14", "013", "13, 8", "", "+13", "١٣"])
def test_another_version_than_13_is_refused_with_the_version_to_use(version: str) -> None:
    refused = refusal(("Sec-WebSocket-Version", version), without="Sec-WebSocket-Version")
    assert refused.status == 426
    assert refused.headers["Sec-WebSocket-Version"] == "13"


def test_no_version_and_two_versions_are_refused() -> None:
    assert refusal(without="Sec-WebSocket-Version").status == 426
    assert refusal(("Sec-WebSocket-Version", "13")).status == 426


@pytest.mark.parametrize(
    "key",
    [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",  # no padding
        "dGhlIHNhbXBsZSBub25j",  # 15 bytes
        "dGhlIHNhbXBsZSBub25jZTE=",  # 17 bytes
        "dGhlIHNhbXBs ZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZ\N{LATIN SMALL LETTER E WITH ACUTE}==",
        "\udcff" * 24,
        "A" * 8192,
    ],
)
def test_a_key_that_is_not_16_bytes_in_base64_is_refused(key: str) -> None:
    refused = refusal(("Sec-WebSocket-Key", key), without="Sec-WebSocket-Key")
    assert (refused.status, "Sec-WebSocket-Key" in refused.message) == (400, True)


def test_no_key_and_two_keys_are_refused() -> None:
    assert refusal(without="Sec-WebSocket-Key").status == 400
    assert refusal(("Sec-WebSocket-Key", REQUEST["Sec-WebSocket-Key"])).status == 400


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("https", "example.com", "https://example.com"),
        ("https", "example.com:443", "https://example.com"),
        ("https", "example.com", "https://example.com:443"),
        ("wss", "EXAMPLE.com", "HTTPS://example.COM"),
        ("ws", "example.com", "http://example.com:80"),
        ("http", "localhost:8080", "http://localhost:8080"),
        ("http", "127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http", "[::1]:8080", "http://[::1]:8080"),
        ("https", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_the_servers_own_pages_may_connect(scheme: str, host: str, origin: str) -> None:
    assert ask(("Origin", origin), scheme=scheme, host=host) == ask()


@pytest.mark.parametrize(
    "origin",
    [
        "http://server.example.com",
        "https://server.example.com:8443",
        "https://server.example.com:0443443",
        "https://evil.example",
        "https://server.example.com.evil.example",
        "https://evil.example/server.example.com",
        "https://evilserver.example.com",
        "https://example.com",
        "https://sub.server.example.com",
        "https://server.example.com.",
        "https://server.example.com/",
        "https://server.example.com#",
        "https://server.example.com?",
        "https://server.example.com:",
        "https://server.example.com:443:443",
        "https://server.example.com:４４３",
        "https://user@server.example.com",
        "https://server.example.com@evil.example",
        "https:server.example.com",
        "https:///server.example.com",
        "//server.example.com",
        "server.example.com",
        "https://server_example.com",
        "https://server.example.com ",
        " https://server.example.com",
        "https://server.example.com, https://evil.example",
        "https://server.example.com\n",
        "https://server\u3002example.com",
        "http\u017f://server.example.com",
        "\udcff",
        "null",
        "",
        "*",
        "file://",
        "chrome-extension://abcdefgh",
    ],
)
@pytest.mark.parametrize("origins", [None, ["https://server.example.com"], []])
def test_other_pages_may_not_connect(origin: str, origins: list[str] | None) -> None:
    refused = refusal(("Origin", origin), origins=origins)
    assert refused.status == 403
    # It goes into a JSON body: nothing of the header does.
    assert refused.message.isascii()


def test_a_letter_that_is_ascii_only_in_lower_case_is_another_host() -> None:
    kelvin = "https://\N{KELVIN SIGN}elly.example"
    assert kelvin.lower() == "https://kelly.example"
    assert refusal(("Origin", kelvin), host="kelly.example").status == 403


@pytest.mark.parametrize("host", ["", "a b", "user@server.example.com", "\udcff", "a/b"])
def test_a_host_that_is_none_has_no_pages(host: str) -> None:
    assert refusal(("Origin", f"https://{host}"), host=host).status == 403


def test_a_request_without_origin_is_no_browsers_and_passes() -> None:
    assert ask(origins=[]) == ask()


def test_two_origins_are_refused() -> None:
    own = ("Origin", "https://server.example.com")
    assert refusal(own, own).status == 403


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.com:443", "https://example.com"),
        ("http://example.com:8080", "http://EXAMPLE.com:8080"),
        ("wss://example.com", "https://example.com"),
        ("null", "null"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("*", "https://anything.example"),
        ("*", "null"),
        ("*", "\udcff"),
    ],
)
def test_an_allowed_origin_passes(allowed: str, origin: str) -> None:
    assert ask(("Origin", origin), origins=["https://first.example", allowed]) == ask()


def test_with_an_allow_list_the_servers_own_pages_must_be_on_it() -> None:
    own = ("Origin", "https://server.example.com")
    assert refusal(own, origins=["https://example.com"]).status == 403


def test_a_matrix_of_origins_lets_only_equal_ones_pass() -> None:
    schemes, hosts, ports = ("http", "https"), ("a.example", "b.example"), ("", ":80", ":8080")
    addresses = [*product(schemes, hosts, ports)]

    def place(scheme: str, host: str, port: str) -> tuple[str, str, str]:
        return scheme, host, port or (":80" if scheme == "http" else ":443")

    for (scheme, host, port), other in product(addresses, addresses):
        header = ("Origin", f"{other[0]}://{other[1]}{other[2]}")
        if place(scheme, host, port) == place(*other):
            assert ask(header, scheme=scheme, host=host + port) == ask()
        else:
            assert refusal(header, scheme=scheme, host=host + port).status == 403


@pytest.mark.parametrize(
    "entry", ["*", "null", "https://example.com", "http://[::1]:8080", "app://x"]
)
def test_an_entry_that_is_accepted_matches_itself(entry: str) -> None:
    check_origins(["https://first.example", entry])
    assert ask(("Origin", entry), origins=["https://first.example", entry]) == ask()


@pytest.mark.parametrize("entry", ["https://example.com/", "example.com", "https://*.com", ""])
def test_an_entry_that_can_never_match_is_told(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is no origin; write scheme://host") as caught:
        check_origins(["https://fine.example", entry])
    assert repr(entry) in str(caught.value)


def test_a_string_for_an_allow_list_is_told() -> None:
    with pytest.raises(ValueError, match=r"give a list: \['https://example.com'\]"):
        check_origins("https://example.com")


def test_the_first_offered_subprotocol_that_is_known_is_selected() -> None:
    accepted = ask(
        ("Sec-WebSocket-Protocol", "soap,, wsrpc.v1.msgpack"),
        ("Sec-WebSocket-Protocol", "wsrpc.v1.json"),
        subprotocols=("wsrpc.v1.json", "wsrpc.v1.msgpack"),
    )
    assert accepted.subprotocol == "wsrpc.v1.msgpack"
    assert accepted.headers["Sec-WebSocket-Protocol"] == "wsrpc.v1.msgpack"


@pytest.mark.parametrize("offered", ["soap", "WSRPC.V1.JSON", "", ",", "wsrpc.v1", "\udcff"])
def test_unknown_subprotocols_are_left_out(offered: str) -> None:
    accepted = ask(("Sec-WebSocket-Protocol", offered), subprotocols=("wsrpc.v1.json",))
    assert accepted.subprotocol is None
    assert "Sec-WebSocket-Protocol" not in accepted.headers


def test_permessage_deflate_is_accepted_only_if_wanted() -> None:
    offer = ("Sec-WebSocket-Extensions", "x-unknown, permessage-deflate")
    accepted = ask(offer, deflate=True)
    assert accepted.deflate is not None
    assert accepted.headers["Sec-WebSocket-Extensions"] == accepted.deflate.response
    for accepted in ask(offer), ask(deflate=True):
        assert accepted.deflate is None
        assert "Sec-WebSocket-Extensions" not in accepted.headers


HOSTILE = [
    ",",
    ";",
    " ",
    "\t,",
    "a,",
    "=",
    '"',
    '\\"',
    "permessage-deflate,",
    "permessage-deflate;",
    "permessage-deflate; server_max_window_bits=8,",
    "permessage-deflate;a;b;c;d;e,",
    'permessage-deflate;x="',
    "https://",
    "[:",
    ":0",
    "\udcff",
]


def steps(name: str, value: str) -> int:
    """How many calls, Python's own too, it takes to answer a request with this header."""
    taken = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal taken
        taken += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        ask(
            (name, value),
            without=name,
            subprotocols=("wsrpc.v1.json",),
            origins=["https://example.com"],
            deflate=True,
        )
    except Refused as refused:
        assert 400 <= refused.status < 500
    finally:
        sys.setprofile(before)
    return taken


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize(
    "name",
    [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Origin",
    ],
)
def test_80_kib_of_rubbish_in_a_header_take_a_thousand_steps_at_most(name: str, piece: str) -> None:
    # 64 elements take 650; all of them, of the longest piece, would take more than 10,000.
    assert steps(name, (piece * 81920)[:81920]) <= 1000


def test_200_lines_of_a_list_are_read_up_to_a_bound() -> None:
    lines = [("Sec-WebSocket-Protocol", "a,b")] * 200
    known = ("wsrpc.v1.json",)
    late = ("Sec-WebSocket-Protocol", "wsrpc.v1.json")
    assert ask(*lines, late, subprotocols=known).subprotocol is None
    assert ask(*lines[:31], late, subprotocols=known).subprotocol == "wsrpc.v1.json"


@given(
    st.lists(st.tuples(st.sampled_from([*REQUEST, "Origin", "Sec-WebSocket-Protocol"]), st.text())),
    st.text(),
    st.text(),
)
def test_any_headers_are_answered_or_refused(
    headers: list[tuple[str, str]], extensions: str, host: str
) -> None:
    more = [*headers, ("Sec-WebSocket-Extensions", extensions)]
    try:
        accepted = ask(*more, host=host, subprotocols=("a",), deflate=True)
    except Refused as refused:
        assert refused.status in (400, 403, 426)
    else:
        assert all("\n" not in value for value in accepted.headers.values())
