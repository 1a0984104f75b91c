"""Which addresses deliveries may go to: one row per network."""

import pytest

from streamgauge.adapters.webhook.addresses import is_public

PUBLIC = ["1.1.1.1", "93.184.216.34", "223.255.255.1", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::101:101"]

NOT_PUBLIC = [
    *["0.0.0.0", "0.1.2.3", "::"],
    *["127.0.0.1", "127.255.255.254", "::1"],
    *["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    *["169.254.1.1", "169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"],
    *["100.64.0.1", "100.127.255.255"],
    *["192.0.0.192", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1", "192.88.99.1"],
    *["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    *["240.0.0.1", "255.255.255.255", "4000::1", "fec0::1", "100::1", "5f00::1"],
    *["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:1.1.1.1", "::127.0.0.1", "::10.0.0.1"],
    *["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1"],
    *["2002:7f00:1::", "2002:101:101::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_of_this_machine_its_network_or_nobody_is_not(address: str) -> None:
    assert not is_public(address)
