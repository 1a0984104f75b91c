"""Which addresses a delivery may go to."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

# What the standard library calls global, or some release of it does, and a delivery must not reach all the same.
_REFUSED_4: Final = (
    IPv4Network("0.0.0.0/8"),  # this host
    IPv4Network("100.64.0.0/10"),  # shared by customers of a provider
    IPv4Network("168.63.129.16/32"),  # a cloud's own service for its machines, at a public-looking address
    IPv4Network("169.254.0.0/16"),  # link-local; clouds serve machine credentials there
    IPv4Network("192.0.0.0/24"),  # protocol assignments; another cloud's credentials
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("198.18.0.0/15"),  # benchmarks
)
_REFUSED_6: Final = (
    IPv6Network("100::/64"),  # discarded
    IPv6Network("2001::/23"),  # protocol assignments; Teredo, which carries IPv4 addresses
    IPv6Network("2002::/16"),  # 6to4, which carries IPv4 addresses
    IPv6Network("5f00::/16"),  # segment routing
    IPv6Network("fec0::/10"),  # site-local
)
# Where a network without IPv4 has its resolver put IPv4 hosts: the last 32 bits are the address that is meant.
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether it is a host's on the internet: not of this machine, its network, its provider, a group, or nobody.

    `address` is text as a resolver gives it, with a zone (`fe80::1%eth0`) or without. An IPv6 address that is another
    way to write an IPv4 one (`::ffff:10.0.0.1`) is not public, whichever it is: no receiver on the internet has one.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed in _NAT64:
        parsed = IPv4Address(int(parsed) & 0xFFFF_FFFF)
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved and not _is_refused(parsed)


def _is_refused(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in _REFUSED_4)
    return any(address in network for network in _REFUSED_6)
