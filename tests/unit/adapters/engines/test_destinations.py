"""Where requests may go."""

import httpx2
import pytest

from bloomweaver.adapters.engines import destinations

INSIDE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "169.254.0.1",
    "100.64.0.1", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
]  # fmt: skip
OUTSIDE = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


class Internet(httpx2.BaseTransport):
    """Answers by address; hears what is asked."""

    def __init__(self, **redirects: str) -> None:
        self.asked: list[tuple[str, str, object]] = []
        self._redirects = redirects

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append((request.url.host, request.headers["host"], request.extensions.get("sni_hostname")))
        target = self._redirects.get(request.url.path.strip("/"))
        return httpx2.Response(302, headers={"location": target}) if target else httpx2.Response(200, text="there")


def client(internet, names, *, trusted=()):
    guard = destinations.GuardedTransport(internet, trusted=trusted, resolve=lambda host, port: names[host].pop(0))
    return httpx2.Client(transport=guard, follow_redirects=True)


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_not_public(address):
    assert not destinations.is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_outside_is(address):
    assert destinations.is_public(address)


def test_the_connection_goes_to_the_address_that_was_looked_at_under_the_hosts_name():
    internet = Internet()
    names = {"hub.example": [["1.1.1.1"], ["127.0.0.1"]]}
    assert client(internet, names).get("https://hub.example/file").text == "there"
    assert internet.asked == [("1.1.1.1", "hub.example", "hub.example")]


@pytest.mark.parametrize("address", INSIDE)
def test_no_host_leads_inside_even_where_another_of_its_addresses_is_public(address):
    internet = Internet()
    with pytest.raises(destinations.Forbidden, match=r"hub\.example"):
        client(internet, {"hub.example": [["1.1.1.1", address]]}).get("https://hub.example/file")
    assert internet.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "https://169.254.169.254/latest/meta-data/",
        "http://hub.example/file",
        "https://[::1]/",
        "https://inside.example/",
    ],
)
def test_a_redirect_leads_nowhere_that_the_first_request_could_not_go(target):
    internet = Internet(start=target)
    names = {"hub.example": [["1.1.1.1"]] * 2, "169.254.169.254": [["169.254.169.254"]], "::1": [["::1"]],
             "inside.example": [["10.1.2.3"]]}  # fmt: skip
    with pytest.raises(destinations.Forbidden):
        client(internet, names).get("https://hub.example/start")
    assert len(internet.asked) == 1


def test_a_host_that_the_operator_named_may_be_anywhere():
    internet = Internet()
    assert client(internet, {}, trusted={"hub.lan"}).get("http://hub.lan/file").text == "there"
    assert internet.asked == [("hub.lan", "hub.lan", None)]


def test_a_name_that_is_not_known_is_trouble_that_passes():
    def unknown(host, port):
        raise OSError("no such name")

    guard = destinations.GuardedTransport(Internet(), resolve=unknown)
    with pytest.raises(httpx2.ConnectError):
        httpx2.Client(transport=guard).get("https://nowhere.example/")
