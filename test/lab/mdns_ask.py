"""Asks for the IPv4 address of an mDNS host in the ways there are, and prints who answered.

Arguments: own address, the host's name, the host's address, and the ways: `multicast` from port 5353,
`legacy` from another port by multicast (RFC 6762 6.7), `unicast` to the host's own port 5353 (5.5).
Prints one JSON object: the address that was answered, by way, or null.
"""
import json
import socket
import sys
import time

from zeroconf import DNSIncoming, DNSOutgoing, DNSQuestion
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_A

group = "224.0.0.251"
own, name, target, *ways = sys.argv[1:]


def ask(way):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if way == "multicast":
        sock.bind((group, 5353))
        sock.setsockopt(
            socket.IPPROTO_IP,
            socket.IP_ADD_MEMBERSHIP,
            socket.inet_aton(group) + socket.inet_aton(own),
        )
    else:
        sock.bind((own, 0))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    out = DNSOutgoing(_FLAGS_QR_QUERY, multicast=way == "multicast", id_=0 if way == "multicast" else 7)
    out.add_question(DNSQuestion(name, _TYPE_A, _CLASS_IN))
    with sock:
        for _ in range(10):
            sock.sendto(out.packets()[0], (target if way == "unicast" else group, 5353))
            # Longer than a second, within which a record is not multicast twice.
            until = time.monotonic() + 1.5
            while (left := until - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    data, (sender, _port) = sock.recvfrom(9000)
                except TimeoutError:
                    break
                message = DNSIncoming(data)
                if message.is_query() or sender != target:
                    continue
                for record in message.answers:
                    if record.type == _TYPE_A and record.name.lower() == name.lower():
                        return socket.inet_ntoa(record.address)
    return None


print(json.dumps({way: ask(way) for way in ways}))
