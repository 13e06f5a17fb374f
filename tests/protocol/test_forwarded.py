"""Where a request was sent to: what proxies say, and what is left when they say nothing."""

import pytest

from openapi.protocol.forwarded import sent_to


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ({}, "http", "inner:8080"),
        ({"Proto": "https"}, "https", "inner:8080"),
        ({"Host": "x.org"}, "http", "x.org"),
        ({"Proto": "https", "Host": "x.org"}, "https", "x.org"),
        ({"Proto": "https", "Host": "x.org", "Port": "443"}, "https", "x.org"),
        ({"Proto": "https", "Host": "x.org", "Port": "8443"}, "https", "x.org:8443"),
        ({"Proto": "https", "Host": "x.org:1", "Port": "8443"}, "https", "x.org:1"),
        ({"Proto": "https", "Host": "[::1]", "Port": "8443"}, "https", "[::1]:8443"),
        ({"Proto": "https", "Host": "x.org", "Port": "many"}, "https", "x.org"),
        ({"Proto": "https", "Host": "x.org", "Port": "²"}, "https", "x.org"),
        ({"Proto": "https, http", "Host": " x.org , proxy"}, "https", "x.org"),
        ({"Proto": "gopher", "Host": "x.org"}, "http", "x.org"),
        ({"Proto": "gopher"}, "http", "inner:8080"),
    ],
)
def test_each_header_says_its_part_and_the_request_the_rest(
    headers: dict[str, str], scheme: str, host: str
) -> None:
    forwarded = {f"X-Forwarded-{name}": value for name, value in headers.items()}
    assert sent_to(forwarded, scheme="http", host="inner:8080") == (scheme, host)
